"""How much of a study's trainings the race of its best should have, on a table of trained width vectors.

    python tools/bench_shares.py --table FILE [--studies 30] [--bowl POINTS] [--format json]

The networks of a table (`tools/width_table.py`) are a planted world: the mean of a network's seeds is its truth, and a
training is that and noise with the deviation of single seeds within networks. Every study asks `rule` for its
trainings, tried widths included, and gives the last share of them to the race of `study rank`. Printed is how much
better the winner's truth is than that of uniform widths: with 10, 20 and 40 trainings, at the MACs of the uniform
networks of half and three quarters of the widths. Studies are the observations (95 % intervals); shares of one study
see the same first trials, so that differences to the share that is used are paired. Without a race the answer is the
rule's. With --bowl the truth is another one: it falls off with the squared distance from uniform widths, in log widths,
so that these are the best, and what a study finds can only be worse.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import optuna
from numpy.typing import NDArray
from scipy.stats import t as student

from nas_prune.errors import NasPruneError
from nas_prune.study import trial_record as record
from nas_prune.study.race import Posterior, Terms, race
from nas_prune.study.rank import least_trainings
from nas_prune.study.rank_result import SEEDS, TOP
from nas_prune.study.rule_sampler import RuleSampler
from nas_prune.study.rule_search import Seen, logs_of, rule_of
from nas_prune.study.samplers import quiet
from tools.width_table import SHARES, TablePoints, read_width_table

COUNTS = (10, 20, 40)
RACES = (0.0, 0.15, 0.25, 0.35, 0.5)
USED = 0.25


@dataclass(frozen=True)
class World:
    """Planted truths.

    Attributes:
        points: the networks within a budget.
        truth_F: of each, as a share.
        noise: standard deviation of a training.
    """

    points: TablePoints
    truth_F: NDArray[np.float64]
    noise: float

    @classmethod
    def of(cls, points: TablePoints, bowl: float | None) -> "World":
        """The world of a table, or one with its noise in which uniform widths are the best."""
        accuracy_CR = points.table.accuracy_CR
        noise = float(np.sqrt(accuracy_CR.var(axis=1, ddof=1).mean()))
        if bowl is None:
            return cls(points, accuracy_CR[points.feasible].mean(axis=1), noise)
        away_F = ((points.logs_FG - points.layout.centre_S) ** 2).sum(axis=1)
        near_F = away_F[away_F < np.median(away_F)]
        return cls(points, float(accuracy_CR.mean()) - bowl / 100 * away_F / near_F.std(), noise)

    @property
    def uniform(self) -> int:
        """The place of uniform widths."""
        return self.points.place(self.points.uniform)

    def searched(self, seed: int) -> tuple[list[int], list[float]]:
        """Places and values of the trials of a study."""
        rng, points = np.random.default_rng(seed), self.points
        study = optuna.create_study(direction="maximize", sampler=RuleSampler(points, seed))
        study.enqueue_trial(points.uniform)
        places: list[int] = []

        def objective(trial: optuna.Trial) -> float:
            drawn = {name: trial.suggest_float(name, *ends) for name, ends in points.ranges.items()}
            places.append(points.place(drawn))
            trial.set_user_attr(record.WIDTHS, json.dumps(self.widths(places[-1])))
            return float(self.truth_F[places[-1]] + rng.normal(0, self.noise))

        study.optimize(objective, n_trials=COUNTS[-1])
        return places, [one.values[0] for one in study.get_trials(deepcopy=False)]

    def widths(self, place: int) -> tuple[int, ...]:
        """Of the network at a place."""
        return tuple(self.points.table.widths_CG[self.points.feasible[place]].tolist())

    def found(self, places: Sequence[int], values: Sequence[float], for_race: int, seed: int) -> int:
        """The place of what a study calls the best, after a race of so many trainings."""
        seen = Seen(tuple(map(self.widths, places)), tuple(values), ())
        expected_F = rule_of(self.points, seen).mean_N(self.points.logs_FG)
        answer = int(expected_F.argmax())
        if not for_race:
            return answer
        named = {"uniform": self.uniform}
        tried = sorted(set(places), key=lambda place: -expected_F[place])
        for name, place in [("rule", answer), *((f"trial {place}", place) for place in tried)]:
            if place not in named.values() and len(named) <= TOP:
                named[name] = place
        names = list(named)[: max(2, for_race)]
        rng = np.random.default_rng([seed, for_race])

        def trained(_: int, tasks: Sequence[tuple[str, int]]) -> list[float]:
            return [float(self.truth_F[named[name]] + rng.normal(0, self.noise)) for name, _ in tasks]

        def known(own: "dict[str, Sequence[float]]") -> Posterior:
            again = [(self.widths(named[name]), value) for name, one in own.items() for value in one]
            more = seen.with_more([vector for vector, _ in again], [value for _, value in again])
            rule = rule_of(self.points, more)
            return Posterior(
                *rule.joint(logs_of(self.points, [self.widths(named[name]) for name in own])), rule.freedom
            )

        terms = Terms(SEEDS, least_trainings(names, has_rule=True), most_macs=for_race)
        ended = race(dict.fromkeys(names, 1), terms, trained, known)  # type: ignore[arg-type]
        assert ended is not None
        return named[list(ended.values)[ended.posterior.leader]]


def gains(world: World, studies: int) -> NDArray[np.float64]:
    """Points over uniform widths, by study, number of trainings and share of the race."""
    base = world.truth_F[world.uniform]
    found = np.zeros((studies, len(COUNTS), len(RACES)))
    for seed in range(studies):
        places, values = world.searched(seed)
        for row, count in enumerate(COUNTS):
            for column, share in enumerate(RACES):
                for_race = ceil(share * count)
                trials = count - for_race
                place = world.found(places[:trials], values[:trials], for_race, seed)
                found[seed, row, column] = 100 * (world.truth_F[place] - base)
    return found


def main() -> None:
    """Print a line for each number of trainings and share."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--studies", type=int, default=30)
    parser.add_argument(
        "--bowl",
        type=float,
        help="points by which the truth of the nearer half deviates as it falls off around uniform widths",
    )
    parser.add_argument("--format", choices=["text", "json"], default="text")
    options = parser.parse_args()
    if options.studies < 2:
        parser.error(f"--studies must be at least 2, got {options.studies}.")
    quiet()
    try:
        table = read_width_table(options.table)
    except NasPruneError as error:
        parser.error(str(error))
    factor = float(student.ppf(0.975, options.studies - 1)) / options.studies**0.5
    used = RACES.index(USED)
    for share in SHARES:
        world = World.of(TablePoints(table, table.uniform(share)), options.bowl)
        found = gains(world, options.studies)
        for row, count in enumerate(COUNTS):
            for column, part in enumerate(RACES):
                own, beside = found[:, row, column], found[:, row, column] - found[:, row, used]
                line = {
                    "budget": share,
                    "trainings": count,
                    "race": part,
                    "race trainings": ceil(part * count),
                    "gain": round(float(own.mean()), 3),
                    "half": round(factor * float(own.std(ddof=1)), 3),
                    f"beside {USED}": round(float(beside.mean()), 3),
                    "half beside": round(factor * float(beside.std(ddof=1)), 3),
                    "losses": round(float((own < -0.1).mean()), 2),
                }
                print(
                    json.dumps(line)
                    if options.format == "json"
                    else "  ".join(f"{k} {v}" for k, v in line.items())
                )


if __name__ == "__main__":
    main()
