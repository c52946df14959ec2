"""Keep the results of a long study in one small file, and go on from there on another machine.

    python tools/kept.py --out shootout --kept studies/shootout/repetitions.jsonl --of '*/*/*/result.json'

Each file of `--out` that a pattern matches becomes a line of `--kept`; each line whose file is missing in `--out` is
written there, so that the study's own command does not train it again. What both have must be the same, but for files
of `--latest NAME`: settings, say, which another number of seeds changes. Nothing of what the files say is printed.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from nas_prune.errors import BadInputError, NasPruneError
from nas_prune.runs.files import write_whole


def exchange(out: Path, kept: Path, patterns: list[str], latest: Sequence[str] = ()) -> tuple[int, int]:
    """Exchange files with a file of lines.

    Args:
        out: the directory of the study.
        kept: a line of JSON for each file, by path; made if it is missing.
        patterns: which files, as `Path.glob` takes them.
        latest: files that may have changed, since more was asked of the study: what `--out` has replaces what is kept.

    Returns:
        How many were kept now, and how many were put back.

    Raises:
        BadInputError: both have a file and differ, or the lines are none of ours.
    """
    lines = _read(kept)
    here = {path.relative_to(out).as_posix(): path for one in (*patterns, *latest) for path in out.glob(one)}
    found = {name: _content(path) for name, path in here.items()}
    changed = {name for name in found.keys() & set(latest) if lines.get(name) not in (None, found[name])}
    lines = {name: content for name, content in lines.items() if name not in changed}
    differing = sorted(name for name, content in found.items() if lines.get(name, content) != content)
    if differing:
        raise BadInputError(
            f"{out / differing[0]} must be what {kept} has of it, and differs. Take another --out."
        )
    new, missing = found.keys() - lines.keys(), lines.keys() - found.keys()
    if new:
        kept.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"path": name, **content} for name, content in sorted((lines | found).items())]
        write_whole(kept, "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
    for name in missing:
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = lines[name]
        write_whole(
            path, content["text"] if "text" in content else json.dumps(content["json"], indent=1) + "\n"
        )
    return len(new), len(missing)


def _content(path: Path) -> dict[str, Any]:
    """What a file holds: as JSON where it is written as this project writes it, else as text."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        content = json.loads(text)
        if json.dumps(content, indent=1) + "\n" == text:
            return {"json": content}
    return {"text": text}


def _read(kept: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(kept.read_text(encoding="utf-8").splitlines() if kept.exists() else (), 1):
        row = json.loads(line)
        name = PurePosixPath(row.pop("path"))
        if name.is_absolute() or ".." in name.parts or not row.keys() <= {"json", "text"} or len(row) != 1:
            raise BadInputError(f"{kept} must hold a file of the study in each line, got line {number}.")
        found[str(name)] = row
    return found


def main() -> None:
    """Exchange both ways, and say how many."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--of", action="append", required=True, metavar="PATTERN")
    parser.add_argument("--latest", action="append", default=[], metavar="NAME")
    options = parser.parse_args()
    taken, given = exchange(options.out, options.kept, options.of, options.latest)
    print(f"{taken} kept now, {given} put back")


if __name__ == "__main__":
    try:
        main()
    except NasPruneError as error:
        sys.exit(str(error))
