"""Write the tables of search_spaces/README.md: what can be searched of torchvision's networks, timm's and others'.

The others are in other_networks.py, which says what must be installed for them.
"""

import argparse
import os
import platform
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parent.parent
MARGIN = 60  # characters of a reason


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one network.

    Attributes:
        name: as `--space` takes it.
        input: the shape of an image, or all that the network takes.
        groups: searchable channel groups.
        frozen: frozen groups but the network's output.
        share: of the MACs, that goes when every searchable group is at its floor.
        trace_s, load_s: seconds for the channel graph alone; with construction, self-check and costs.
        reasons: why groups are frozen, most frequent first.
    """

    name: str
    input: str
    groups: int
    frozen: int
    share: float
    trace_s: float
    load_s: float
    reasons: str


def measure(named: tuple[str, str]) -> Row:
    """Load one network as `--space` does, or one of other_networks.py, by its library there and its name."""
    import torch
    from other_networks import OTHERS

    from nas_prune.graph.channels import channel_graph
    from nas_prune.space.load import load_space

    library, name = named
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    started = perf_counter()
    if library:
        other = OTHERS[library][name]
        space = load_space(other.make, other.example, part=other.part)
    else:
        space = load_space(name)
    loaded = perf_counter()
    channel_graph(space.template, space.forward)
    traced = perf_counter()
    frozen = Counter(
        group.frozen for group in space.graph.groups if group.frozen not in (None, "the network's output")
    )
    return Row(
        name,
        str(space.forward.call),
        len(space.groups),
        sum(frozen.values()),
        1 - space.cost_at(space.floor_G).macs / space.cost_at(space.base_G).macs,
        traced - loaded,
        loaded - started,
        "; ".join(f"{count}× {_shortened(str(reason))}" for reason, count in frozen.most_common(2)),
    )


def _shortened(reason: str) -> str:
    text = reason.replace("|", "/").replace("the network's code expects", "code expects")
    return text if len(text) <= MARGIN else f"{text[: MARGIN - 1]}…"


def table(rows: Iterable[Row]) -> Iterator[str]:
    """Rows of Markdown."""
    yield "| network | input | groups | searchable share | frozen | trace, s | load, s | frozen why |"
    yield "|---|---|---:|---:|---:|---:|---:|---|"
    for row in rows:
        name, comma, how = row.name.partition(",")
        yield (
            f"| `{name}`{comma}{how} | {row.input} | {row.groups} | {100 * row.share:.1f} % | {row.frozen} "
            f"| {row.trace_s:.2f} | {row.load_s:.1f} | {row.reasons} |"
        )


def tables(torchvision: list[Row], timm: list[Row], others: dict[str, list[Row]], workers: int) -> str:
    """The end of the file: what was measured."""
    names = ("torch", "torchvision", "timm", "transformers", "ultralytics")
    libraries = ", ".join(f"{name} {version(name)}" for name in names)
    return TABLES.format(
        workers=workers,
        number=len(torchvision),
        least=f"{100 * min(row.share for row in torchvision):.1f}",
        families=len(timm),
        good=sum(row.share >= 0.95 for row in timm),
        hardware=f"{os.cpu_count()} cores ({_processor()}) without a GPU",
        versions=f"Python {platform.python_version()}, {libraries}",
        torchvision="\n".join(table(torchvision)),
        timm="\n".join(table(timm)),
        number_of_others=sum(map(len, others.values())),
        least_of_others=f"{100 * min(row.share for rows in others.values() for row in rows):.1f}",
        others="\n\n".join(f"### {library}\n\n" + "\n".join(table(rows)) for library, rows in others.items()),
    )


_MARK = "is written by `python tools/make_spaces_table.py`.\n"
TABLES = """
*Searchable share*: 1 − MACs with every searchable group at its floor / MACs. *Frozen*: groups that keep their width,
the network's output left out; the two most frequent reasons. *Trace*: the channel graph; *load*: construction,
self-check and costs as well.

{number} networks of torchvision, smallest share {least} %; {families} of timm, of which {good} at 95 % or more;
{number_of_others} others (`tools/other_networks.py`), smallest share {least_of_others} %.
Seconds: one run each, {workers} at a time, on {hardware}, {versions}.

### torchvision

{torchvision}

### timm

{timm}

{others}
"""


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )


def main() -> None:
    """Measure all, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--workers", type=int, default=1, help="processes; more than one makes the seconds worse"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "search_spaces" / "README.md")
    options = parser.parse_args()
    written, mark, _ = options.out.read_text(encoding="utf-8").partition(_MARK)
    if not mark:
        raise SystemExit(f"{options.out} must hold the words {_MARK!r}; the tables go behind them.")
    sys.path.insert(0, str(ROOT))
    from other_networks import OTHERS

    from nas_prune.space.networks import torchvision_names
    from tests.space.test_any_network import TIMM

    classifiers, segmenters = torchvision_names()
    vision = [f"torchvision:{name}" for name in [*classifiers, *segmenters]]
    names = [("", name) for name in [*vision, *(f"timm:{name}" for name in TIMM)]]
    count = len(names)
    names += [(library, name) for library, own in OTHERS.items() for name in own]
    rows: list[Row] = []
    with ProcessPoolExecutor(options.workers, max_tasks_per_child=None) as pool:
        for row in pool.map(measure, names):
            print(f"{row.name}: {100 * row.share:.1f} % in {row.load_s:.1f} s", file=sys.stderr)
            rows.append(row)
    others: dict[str, list[Row]] = {library: [] for library in OTHERS}
    for (library, _), row in zip(names[count:], rows[count:], strict=True):
        others[library].append(row)
    made = tables(rows[: len(vision)], rows[len(vision) : count], others, options.workers)
    options.out.write_text(written + mark + made, encoding="utf-8")


if __name__ == "__main__":
    main()
