"""The table and the picture of `tools/deep_compression.py`, of what is done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from statistics import fmean, stdev

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nas_prune.comparison.statistics import Contrast, paired
from nas_prune.compression.result import Compressed, read_compression
from nas_prune.runs.figure import COLOURS, MARKERS, save
from nas_prune.training.network_file import read_record
from nas_prune.training.result import read_trained
from tools.deep_compression import NETWORKS, SEEDS, SHARES

ARMS = {
    "deep": "single weights, shared and coded",
    "found": "found widths, 32 bits",
    "found-coded": "found widths, shared and coded",
    "uniform-coded": "uniform widths, shared and coded",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm at one share of the bytes.

    Attributes:
        tests: accuracies by seed.
        sizes: shares of the whole network's bytes in 32 bits, by seed.
        above: how far files are above their bound, by seed; none of files that are not coded.
    """

    tests: dict[int, float]
    sizes: dict[int, float]
    above: dict[int, float]

    @property
    def words(self) -> str:
        """Mean and deviation over the seeds, and which share of the bytes the files really have."""
        return (
            f"{_mean([100 * one for one in self.tests.values()])} ({100 * fmean(self.sizes.values()):.2f} %)"
        )


def _mean(values: Sequence[float]) -> str:
    return f"{fmean(values):.2f} ± {stdev(values):.2f}" if len(values) > 1 else f"{fmean(values):.2f}"


def _compressed(home: Path, name: str) -> Compressed | None:
    return read_compression(home / f"compressed-{name}")


def cell(out: Path, network: str, arm: str, share: float) -> Cell | None:
    """What is done of an arm."""
    found = Cell({}, {}, {})
    for seed in SEEDS:
        home = out / network / str(seed)
        if arm == "found":
            folder = home / f"train-found-{share:g}" / f"seed-{100 + seed}"
            trained = read_trained(folder / "result.json")
            record = read_record(folder / "network.safetensors") if trained else None
            if trained is not None and record is not None:
                found.tests[seed] = trained.test_score
                found.sizes[seed] = record.widths.cost.params / record.widths.base_cost.params
        elif (one := _compressed(home, f"{arm}-{share:g}")) is not None:
            found.tests[seed] = one.accuracies[-1].test
            found.sizes[seed] = one.account.file_bytes / one.account.whole_bytes
            found.above[seed] = one.account.above_bound
    return found if found.tests else None


def _dense(out: Path, network: str) -> dict[int, float]:
    """Test accuracies of the whole network, trained for as long as all arms together, by seed."""
    paths = {seed: out / network / str(seed) / "train-dense" / f"seed-{100 + seed}" for seed in SEEDS}
    found = {seed: read_trained(path / "result.json") for seed, path in paths.items()}
    return {seed: one.test_score for seed, one in found.items() if one is not None}


def table(out: Path) -> list[str]:
    """Accuracies by network, arm and share of the bytes."""
    shares = " | ".join(f"≤ {share:g} % of the bytes" for share in SHARES)
    lines = [f"| network | arm | n | any size | {shares} |", "|---|---|---|---|" + "---|" * len(SHARES)]
    for network in NETWORKS:
        lines += _of_whole(out, network)
        for arm, words in ARMS.items():
            cells = [cell(out, network, arm, share) for share in SHARES]
            if any(cells):
                n = min(len(one.tests) for one in cells if one)
                own = " | ".join("" if one is None else one.words for one in cells)
                lines.append(f"| {network} | {words} | {n} | | {own} |")
    return lines


def _of_whole(out: Path, network: str) -> list[str]:
    """The whole network: after its own training, in 8 bits, and trained for as long as all arms."""
    net, rest = NETWORKS[network], " |" * len(SHARES)
    wholes = [one for seed in SEEDS if (one := _compressed(out / network / str(seed), "whole"))]
    longer, lines = _dense(out, network), []
    if wholes:
        before, after = ([one.accuracies[place].test for one in wholes] for place in (0, -1))
        share = 100 * fmean(one.account.file_bytes / one.account.whole_bytes for one in wholes)
        for words, tests, size in (
            (f"whole network, {net.whole} epochs", before, 100.0),
            ("the same in 8 bits, not tuned", after, share),
        ):
            own = f"{_mean([100 * one for one in tests])} ({size:.2f} %)"
            lines.append(f"| {network} | {words} | {len(tests)} | {own} |{rest}")
    if longer:
        own = f"{_mean([100 * one for one in longer.values()])} (100 %)"
        lines.append(f"| {network} | whole network, {net.total} epochs | {len(longer)} | {own} |{rest}")
    return lines


def contrasts(out: Path) -> list[str]:
    """Single weights against the whole network and against narrow networks of the same bytes, seed by seed."""
    lines = [
        "| network | bytes | single weights minus | n | points | 95 % interval |",
        "|---|---|---|---|---|---|",
    ]
    for network in NETWORKS:
        for share in SHARES:
            deep = cell(out, network, "deep", share)
            if deep is None:
                continue
            what = f"{network} | ≤ {share:g} %"
            whole = f"whole network, {NETWORKS[network].total} epochs"
            lines += _contrast(f"{what} | {whole}", deep.tests, _dense(out, network))
            for arm, words in ARMS.items():
                other = None if arm == "deep" else cell(out, network, arm, share)
                if other is not None:
                    lines += _contrast(f"{what} | {words}", deep.tests, other.tests)
    return lines


def _contrast(what: str, own: Mapping[int, float], others: Mapping[int, float]) -> list[str]:
    """A line, where two seeds or more are done of both."""
    seeds = sorted(own.keys() & others.keys())
    if len(seeds) < 2:
        return []
    one = paired([own[seed] for seed in seeds], [others[seed] for seed in seeds])
    return [f"| {what} | {len(seeds)} | {100 * one.difference:+.2f} | {_interval(one)} |"]


def _interval(one: Contrast) -> str:
    """In points; nothing can be said where all pairs differ by the same."""
    return "–" if isnan(one.low) else f"{100 * one.low:+.2f} to {100 * one.high:+.2f}"


def bounds(out: Path) -> list[str]:
    """How far the files are above the entropy of their symbols with tables."""
    lines = ["| network | n files | above the bound | codes above the entropy |", "|---|---|---|---|"]
    for network in NETWORKS:
        own = [
            one
            for path in sorted((out / network).glob("*/compressed-*"))
            if (one := read_compression(path)) is not None
        ]
        if own:
            files = [100 * one.account.above_bound for one in own]
            codes = [100 * one.account.codes_above_entropy for one in own]
            lines.append(
                f"| {network} | {len(own)} | {min(files):.2f} to {max(files):.2f} % | "
                f"{min(codes):.2f} to {max(codes):.2f} % |"
            )
    return lines


def accounts(out: Path) -> list[str]:
    """Where the bytes of the smallest files of single weights are, and those of other forms: of the first seed."""
    name = f"deep-{min(SHARES):g}"
    own = {network: _compressed(out / network / str(SEEDS[0]), name) for network in NETWORKS}
    there = {network: one for network, one in own.items() if one is not None}
    lines = ["| as | " + " | ".join(f"{network} | test" for network in there) + " |"]
    lines.append("|---|" + "---|---|" * len(there))
    for form in next(iter(there.values())).forms if there else ():
        row = [form.name]
        for one in there.values():
            theirs = next((other for other in one.forms if other.name == form.name), None)
            if theirs is None:
                row += ["", ""]
                continue
            row.append(f"{theirs.bytes:,} (1/{one.account.whole_bytes / theirs.bytes:.3g})")
            row.append("" if theirs.test is None else f"{100 * theirs.test:.2f}")
        lines.append(f"| {' | '.join(row)} |")
    bounds = " | ".join(f"{one.account.bound_bytes:,.0f} | " for one in there.values())
    return [*lines, f"| entropy of the symbols, tables and header | {bounds}|"] if there else []


def draw(out: Path, path: Path) -> None:
    """Accuracy by share of the bytes, a panel for each network."""
    figure = Figure(figsize=(12, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(NETWORKS), squeeze=False)[0]
    for axes, network in zip(panels, NETWORKS, strict=True):
        for number, (arm, words) in enumerate(ARMS.items()):
            cells = [one for share in SHARES if (one := cell(out, network, arm, share)) is not None]
            if cells:
                xs = [100 * fmean(one.sizes.values()) for one in cells]
                ys = [100 * fmean(one.tests.values()) for one in cells]
                spread = [100 * stdev(one.tests.values()) if len(one.tests) > 1 else 0 for one in cells]
                axes.errorbar(
                    xs,
                    ys,
                    spread,
                    color=COLOURS[number],
                    marker=MARKERS[number],
                    ms=5,
                    capsize=3,
                    label=words,
                )
        longer = _dense(out, network)
        if longer:
            label = "whole network, 32 bits, as long"
            axes.axhline(100 * fmean(longer.values()), color="0.5", linestyle=":", label=label)
        axes.set_xscale("log")
        axes.set_xticks([*SHARES], [f"{share:g}" for share in SHARES])
        axes.minorticks_off()
        axes.set_title(network, fontsize=10)
        axes.set_xlabel("bytes, % of the whole network in 32 bits")
        axes.grid(color="0.9")
    first = figure.axes[0]
    first.set_ylabel("test accuracy, %")
    first.legend(fontsize=7, frameon=False)
    save(figure, path)


def write(out: Path) -> str:
    """Write `report.md` and `report.png`; the text."""
    text = (
        "\n\n".join("\n".join(part) for part in (table(out), contrasts(out), bounds(out), accounts(out)))
        + "\n"
    )
    (out / "report.md").write_text(text, encoding="utf-8")
    draw(out, out / "report.png")
    return text
