"""Samplers, guidelines and early stopping on the tabular benchmark, where every network has been trained.

    python tools/bench_study.py [--budget 'macs<=25%'] [--sampler-seeds 4] [--out studies/tabular]

Prints, for each data set, the regret of the observed best after 10, 30 and 60 trials: how many points of expected test
accuracy the network with the best validation accuracy so far is short of the best network within the budget, and how
much better it is than uniform widths. `tools/tabular_truth.py` says how good a network is: smoothed, and by training
seeds that the study has not seen. A study sees one training seed, and all studies on it see the same luck; so the
training seeds are the observations, studies that differ by the sampler's seed are averaged within them, and the 90 %
interval is Student's over the former. Rows without a search come first:

- uniform: uniform widths;
- fitted centre, mirrored centre, carried centre: those of the guidelines below;
- all trained: the best by validation of all networks within the budget, each trained once: what luck leaves to find.

Arms: `random` and `tpe` over one parameter for each group (`raw`), and each sampler over the shape parameters, around

- none: uniform widths;
- fitted: a guideline fitted to the five best networks by the validation accuracies of the study's own training seed.
  It has seen every network; the seeds that say how good they are had no part in it;
- mirrored: its mirror image;
- carried: fitted to the five best of the other data set, by the mean validation accuracy of all seeds there.

`rule` is ours: its result is not the best trial, but the network that its rule expects most of. Then what it gains
over uniform widths and over Optuna's samplers together, what these gain over uniform widths, over no guideline and
over the carried centre, and GP over the rest of them, by training seed; early stopping: which share of the true top
tenth it ends, and the epochs and the regret that come of it; what one more training of the best five gains; and what
Optuna and our own code cost a trial.

Everything goes to `bench.json` and `bench.txt` in `--out`.

    python tools/bench_study.py --table FILE --trainings 40 --seeds 30 [--format json]

does the same on somebody else's table of trained width vectors (`tools/width_table.py`), for the MACs of the uniform
networks of half and three quarters of the widths: what studies of so many trainings find, and how good that is by the
seeds of the table that the study has not seen. Here the studies are the observations; the table's own luck is in no
interval.
"""

import argparse
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from nas_prune.errors import NasPruneError
from nas_prune.runs.settings import library_versions
from nas_prune.space.budget import Budget
from nas_prune.study.parameters import parametrised
from nas_prune.study.samplers import SAMPLERS, quiet, sampler_named, stopping_named
from tools.tabular_arms import (
    BEST,
    COUNTS,
    RULE,
    Arm,
    Bench,
    Patterns,
    arms_of,
    bench_of,
    chosen_by,
    gains_again,
    patterns_of,
    runs_of,
    seeded,
)
from tools.tabular_space import Run, read_again, read_table, simulated
from tools.tabular_truth import NORMAL, Estimate, clustered, separate
from tools.width_table import on_table


def main() -> None:
    """Run all arms, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", default="macs<=25%")
    parser.add_argument("--sampler-seeds", type=int, default=4, help="studies on each training seed")
    parser.add_argument("--tables", type=Path, default=Path("studies/tabular"))
    parser.add_argument("--out", type=Path, default=Path("studies/tabular"))
    parser.add_argument("--samplers", nargs="*", default=list(SAMPLERS))
    parser.add_argument("--table", type=Path, help="a CSV file of trained width vectors instead")
    parser.add_argument("--trainings", type=int, default=40, help="of a study, with --table")
    parser.add_argument("--seeds", type=int, default=30, help="studies, with --table")
    parser.add_argument("--format", choices=["table", "json"], default="table", help="with --table")
    options = parser.parse_args()
    quiet()
    if options.table is not None:
        try:
            on_table(options.table, options.trainings, options.seeds, as_json=options.format == "json")
        except NasPruneError as error:
            parser.error(str(error))
        return
    budget = Budget.parse(options.budget)
    tables = {path.stem: read_table(path) for path in sorted(options.tables.glob("*.jsonl"))}
    lines: list[str] = []
    content: dict[str, Any] = {
        "budget": str(budget),
        "versions": library_versions(("torch", "numpy", "optuna", "cmaes")),
        "machine": platform.machine(),
        "truth": {},
        "regret": {},
        "by_seed": {},
        "check": {},
        "difference": {},
        "stopping": {},
        "again": {},
    }
    for name, table in tables.items():
        bench = bench_of(name, table, budget, lines)
        other = next((one for key, one in tables.items() if key != name), None)
        patterns = patterns_of(bench, other)
        content["truth"][name] = _truth(bench)
        content["regret"][name] = {
            **_without_search(bench, patterns),
            **_searched(
                bench,
                arms_of(bench, patterns, options.samplers, options.sampler_seeds),
            ),
        }
        content["by_seed"][name] = _by_seed(bench, content["regret"][name], options.samplers)
        content["check"][name] = _checked(bench, read_again(options.tables / "again" / f"{name}.jsonl"))
        content["difference"][name] = _differences(bench, content["regret"][name], patterns, options.samplers)
        content["stopping"][name] = _stopping(bench, options.sampler_seeds)
        content["again"][name] = _again(bench, options.sampler_seeds)
    content["cost_ms"] = _costs(bench, options.samplers)
    (options.out / "bench.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (options.out / "bench.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def shown(one: Estimate) -> str:
    """In points."""
    return f"{100 * one.mean:.2f} ± {100 * one.half:.2f}"


def _truth(bench: Bench) -> dict[str, Any]:
    truth, seeds = bench.appraisal.truth, bench.table.training_seeds
    best_G = bench.table.widths_CG[bench.feasible[truth.best]].tolist()
    lucky = float(bench.table.mean_C[bench.feasible].max())
    bench.say(
        f"\n{bench.name}, {bench.budget}: {len(bench.feasible)} of {len(bench.table.mean_C)} networks, "
        f"{seeds} training seeds. Best by the smoothed truth: {best_G}, {100 * truth.mean_F.max():.2f} % on test "
        f"images (the largest mean of {seeds} trainings, a lucky one: {100 * lucky:.2f} %)"
    )
    return {
        "training_seeds": seeds,
        "best": best_G,
        "accuracy": float(truth.mean_F.max()),
        "largest_mean": lucky,
        "noise_logit": truth.noise,
        "own_logit": truth.own,
    }


def _without_search(bench: Bench, patterns: Patterns) -> dict[str, Any]:
    bench.say(f"{'no search':<18}{'regret':>16}{'over uniform':>18}   (points, 90 % intervals)")
    own = bench.appraisal
    found = {"uniform": {"regret": own.regret_of(bench.uniform)}}
    chosen = {
        f"{kind} centre": [bench.centre(made(seed)) for seed in bench.training_seeds]
        for kind, made in patterns.items()
        if kind != "none"
    }
    chosen["all trained"] = bench.table.val_CRE[bench.feasible, :, -1].argmax(axis=0).tolist()
    for name, places in chosen.items():
        if name == "carried centre":  # by no training seed of this table
            regret, gain = own.regret_of(places[0]), own.gain_of(places[0], bench.uniform)
        else:
            places_RK = np.array(places)[:, None]
            regret, gain = own.regret(places_RK), own.gain(places_RK, bench.uniform)
        found[name] = {"regret": regret, "over_uniform": gain}
    for name, one in found.items():
        gained = shown(one["over_uniform"]) if "over_uniform" in one else ""
        n = one["regret"].training_seeds
        bench.say(
            f"{name:<18}{shown(one['regret']):>16}{gained:>18}" + f"   n = {n} training seeds" * (n > 0)
        )
    return {name: {key: asdict(value) for key, value in one.items()} for name, one in found.items()}


def _checked(bench: Bench, again: dict[tuple[int, ...], list[float]]) -> list[dict[str, Any]]:
    """The smoothed truth beside many trainings by seeds that the table does not have."""
    if not again:
        return []
    bench.say(
        f"{'again, new seeds':<18}{'smoothed, %':>16}{'new seeds, %':>18}{'over uniform: smoothed, new':>32}"
    )
    truth, rows = bench.appraisal.truth, {tuple(row): place for place, row in enumerate(bench.widths)}
    fixed = again[bench.widths[bench.uniform]]
    found = []
    for widths, tests in again.items():
        place = rows[widths]
        half = NORMAL * truth.deviation(np.asarray(np.arange(len(rows)) == place, dtype=np.float64))
        mean = float(truth.mean_F[place])
        smooth, new = Estimate(mean, mean - half, mean + half, 0, 0), clustered([[one] for one in tests])
        gains = [bench.appraisal.gain_of(place, bench.uniform), separate(tests, fixed)]
        said = "" if place == bench.uniform else f"{shown(gains[0])}, {shown(gains[1])}"
        bench.say(
            f"{','.join(map(str, widths)):<18}{shown(smooth):>16}{shown(new):>18}{said:>32}   n = {len(tests)}"
        )
        found.append({"widths": list(widths), "smoothed": asdict(smooth), "new": asdict(new)})
        found[-1] |= {"over_uniform_smoothed": asdict(gains[0]), "over_uniform_new": asdict(gains[1])}
    return found


def _searched(bench: Bench, arms: list[Arm]) -> dict[str, Any]:
    headings = "".join(f"{f'{count} trials':>16}" for count in COUNTS)
    bench.say(f"{'regret of':<18}{headings}{'60, over uniform':>18}")
    found = {}
    for arm in arms:
        runs_RK = runs_of(bench, arm)
        own, chosen = {}, {}
        for count in COUNTS:
            places_RK = bench.places(
                [[chosen_by(bench, arm, run, seed, count) for run in one] for seed, one in enumerate(runs_RK)]
            )
            own[str(count)] = bench.appraisal.regret(places_RK)
            chosen[str(count)] = json.dumps(places_RK.tolist())
        gain = bench.appraisal.gain(places_RK, bench.uniform)
        cells = "".join(f"{shown(one):>16}" for one in own.values())
        n = f"n = {gain.training_seeds} training seeds x {gain.sampler_seeds} sampler seeds"
        bench.say(f"{arm.name:<18}{cells}{shown(gain):>18}   {n}")
        found[arm.name] = {
            **{count: asdict(one) for count, one in own.items()},
            "over_uniform": asdict(gain),
            "chosen": chosen,
        }
    return found


def _by_seed(bench: Bench, found: dict[str, Any], samplers: Sequence[str]) -> dict[str, list[float]]:
    """Regret of the default study after the most trials for each training seed, beside what it must beat."""
    uniform_RK = np.full((bench.table.training_seeds, 1), bench.uniform)
    names = {"default": f"none {RULE}", "default, mirrored": f"mirrored {RULE}"}
    names |= {name: f"none {name}" for name in samplers if name != RULE}
    chosen = {
        name: np.array(json.loads(found[arm]["chosen"][str(COUNTS[-1])]))
        for name, arm in names.items()
        if arm in found
    }
    said = {
        name: bench.appraisal.regret_by_seed(one) for name, one in {"uniform": uniform_RK, **chosen}.items()
    }
    bench.say(f"regret after {COUNTS[-1]} trials by training seed, points")
    for name, values in said.items():
        bench.say(f"{name:<18}" + "".join(f"{100 * value:>8.2f}" for value in values))
    return said


def _differences(
    bench: Bench, found: dict[str, Any], patterns: Patterns, samplers: list[str]
) -> dict[str, Any]:
    """What Optuna's samplers together gain, by training seed; and the rule over uniform widths and over them."""
    own = bench.appraisal
    others = [name for name in samplers if name != RULE]

    def chosen(kind: str, count: int, names: Sequence[str] = others) -> NDArray[np.int64]:
        return np.hstack([json.loads(found[f"{kind} {name}"]["chosen"][str(count)]) for name in names])

    rows: dict[str, Callable[[int], Estimate]] = {}
    for kind in patterns if len(others) < len(samplers) else ():
        rows[f"{kind}: rule over uniform"] = lambda count, kind=kind: own.gain(
            chosen(kind, count, [RULE]), bench.uniform
        )
        rows[f"{kind}: rule over the rest"] = lambda count, kind=kind: own.difference(
            chosen(kind, count, [RULE]), chosen(kind, count)
        )
    for kind in patterns:
        rows[f"{kind} over uniform"] = lambda count, kind=kind: own.gain(chosen(kind, count), bench.uniform)
    for kind in list(patterns)[1:]:
        rows[f"{kind} over none"] = lambda count, kind=kind: own.difference(
            chosen(kind, count), chosen("none", count)
        )
    if "carried" in patterns:
        centre = bench.centre(patterns["carried"](0))
        rows["carried over its centre"] = lambda count: own.gain(chosen("carried", count), centre)
    rest = [name for name in others if name != "gp"]
    if rest and len(rest) < len(others):
        for kind in patterns:
            rows[f"{kind}: gp over the rest"] = lambda count, kind=kind: own.difference(
                chosen(kind, count, ["gp"]), chosen(kind, count, rest)
            )
    bench.say(f"{'better by':<24}" + "".join(f"{f'{count} trials':>16}" for count in COUNTS))
    said = {}
    for name, measured in rows.items():
        values = {str(count): measured(count) for count in COUNTS}
        n = f"n = {bench.table.training_seeds} training seeds"
        bench.say(f"{name:<24}" + "".join(f"{shown(value):>16}" for value in values.values()) + f"   {n}")
        said[name] = {count: asdict(value) for count, value in values.items()}
    return said


def _stopping(bench: Bench, sampler_seeds: int) -> dict[str, Any]:
    """What early stopping does to random trials without a guideline."""
    parameters = parametrised(None, bench.table.space, bench.budget, groups="all", by_layer=False)
    arm = Arm("stopping", lambda _: parameters, seeded("random", "stopping"), sampler_seeds)
    kinds: dict[str, Callable[[int], optuna.pruners.BasePruner | None]] = {
        "none": lambda _: None,
        "median": lambda epochs: stopping_named("median", epochs),
        "Optuna's default": lambda _: optuna.pruners.MedianPruner(),
    }
    bench.say(
        f"\n{bench.name}: early stopping of random trials, {COUNTS[-1]} trials, in % and points, n = "
        f"{bench.table.training_seeds} training seeds x {sampler_seeds} sampler seeds"
    )
    bench.say(f"{'stopping':<18}{'top tenth ended':>18}{'epochs':>18}{'regret':>18}")
    found = {}
    for kind, made in kinds.items():
        runs_RK = runs_of(bench, replace(arm, stopping=made))
        own = {
            "top_ended": clustered([[_top_ended(bench, run) for run in one] for one in runs_RK]),
            "epochs": clustered(
                [
                    [float(np.mean(run.epochs)) / bench.table.val_CRE.shape[2] for run in one]
                    for one in runs_RK
                ]
            ),
            "regret": bench.appraisal.regret(
                bench.places([[run.best(COUNTS[-1]) for run in one] for one in runs_RK])
            ),
        }
        bench.say(f"{kind:<18}" + "".join(f"{shown(one):>18}" for one in own.values()))
        found[kind] = {key: asdict(one) for key, one in own.items()}
    return found


def _top_ended(bench: Bench, run: Run) -> float:
    truths = bench.appraisal.truth.mean_F[bench.places(run.cells)]
    return float(np.array(run.is_stopped)[truths >= np.quantile(truths, 0.9)].mean())


def _again(bench: Bench, sampler_seeds: int) -> dict[str, Any]:
    """What it gains to train the best five of random trials once more, judged by seeds that neither choice has seen."""
    parameters = parametrised(None, bench.table.space, bench.budget, groups="all", by_layer=False)
    arm = Arm("again", lambda _: parameters, seeded("random", "again"), sampler_seeds)
    gains_RK = []
    for seed, runs in enumerate(runs_of(bench, arm)):
        gains_RK.append([gain for run in runs for gain in gains_again(bench.table, run, seed)])
    gain = clustered(gains_RK)
    bench.say(
        f"\n{bench.name}: the best of {COUNTS[-1]} random trials' top {BEST} by one more training seed, over their "
        f"best by the first: {shown(gain)} points, n = {gain.training_seeds} training seeds"
    )
    return asdict(gain)


def _costs(bench: Bench, samplers: list[str]) -> dict[str, float]:
    """Milliseconds of a trial without its training, the mean over 60 trials in memory."""
    parameters = parametrised(None, bench.table.space, bench.budget, groups="all", by_layer=False)
    found = {}
    for name in samplers:
        started = perf_counter()
        sampler = sampler_named(name, parameters, 0)  # type: ignore[arg-type]
        simulated(bench.table, parameters, sampler, trials=COUNTS[-1], seed=0)
        found[name] = 1e3 * (perf_counter() - started) / COUNTS[-1]
    said = ", ".join(f"{name} {value:.1f}" for name, value in found.items())
    bench.say(f"\nms a trial, sampler and projection, {COUNTS[-1]} trials in memory: {said}")
    return found


if __name__ == "__main__":
    main()
