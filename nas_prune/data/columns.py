"""Which column of a table holds the images, which their classes, which their parts."""

from collections.abc import Collection, Sequence
from shlex import quote

from nas_prune.data.listing import shortened
from nas_prune.data.targets import TargetKind
from nas_prune.errors import DataError
from nas_prune.runs.data_name import OwnData
from nas_prune.runs.text import printable

# Their usual names, in any capitals, with _, - or a space between words.
PATH = (
    "path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "image_file", "image_name",
    "image_id", "img", "img_path",
)  # fmt: skip
IMAGE = ("image", "img", "picture")
LABEL = (
    "label", "labels", "class", "class_name", "classname", "category", "target", "fine_label", "coarse_label",
)  # fmt: skip
SPLIT = ("split", "part", "subset", "set", "partition")


def is_usual(name: str, usual: Sequence[str]) -> bool:
    """Whether a column has one of some names, however it is written."""
    return plainly_written(name) in usual


def plainly_written(name: str) -> str:
    """A column's name in small letters, with _ where it has - or spaces."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def csv_name(own: OwnData, **choices: str) -> str:
    """The name of the same images with other choices, as it is typed."""
    chosen = {**own.columns, **choices}
    written = "".join(f",{key}={value}" for key, value in chosen.items())
    return quote(f"{own.kind}:{own.place}{written}")


def check_choices(own: OwnData, known: Collection[str]) -> None:
    """Refuse choices that a kind of data set has not.

    Raises:
        DataError: there are some.
    """
    other = [name for name in own.columns if name not in known]
    if other:
        raise DataError(
            f"--data {own.kind}:… may choose {', '.join(known)}, got {', '.join(other)}. "
            f"Type it like {own.kind}:PATH,label=NAME."
        )


def label_columns(there: Sequence[str], own: OwnData, kind: TargetKind) -> list[str]:
    """The columns of labels: one, or those chosen as `label=x+y` where there may be several.

    Raises:
        DataError: there is none, or it is not clear which.
    """
    chosen = own.columns.get("label", "")
    names = chosen.split("+")
    if kind == "class" or chosen in there or len(names) == 1:
        return [str(column_of("label", LABEL, there, own))]
    missing = [name for name in names if name not in there]
    if missing or len(set(names)) < len(names):
        got = f"{shortened(missing)}, which are none" if missing else "one of them twice"
        raise DataError(
            f"the columns label of {printable(own.place)} must be among {shortened(there)}, got {got}."
        )
    return names


def column_of(
    role: str,
    usual: Sequence[str],
    there: Sequence[str],
    own: OwnData,
    *,
    among: Sequence[str] | None = None,
    is_needed: bool = True,
) -> str | None:
    """The column that plays a role: the one chosen, or the only one with a usual name.

    Args:
        role: `path`, `image`, `label` or `split`.
        usual: names that such columns have.
        there: the names of all columns.
        own: the data set's name, with what is chosen.
        among: those that can play the role; None for all.
        is_needed: whether there must be one.

    Raises:
        DataError: there is none, or it is not clear which.
    """
    can, where = there if among is None else among, printable(own.place)
    chosen = own.columns.get(role)
    if chosen is not None:
        if chosen in can:
            return chosen
        raise DataError(
            f"the column {role} of {where} must be one of {shortened(can) or 'none'}, got {printable(chosen)!r}."
        )
    found = [name for name in can if is_usual(name, usual)]
    if len(found) == 1:
        return found[0]
    if not found and role == "image" and len(can) == 1:
        return can[0]
    if not found and not is_needed:
        return None
    example = csv_name(own, **{role: found[0] if found else "NAME"})
    if found:
        raise DataError(
            f"{where} must have one column for the {role}, got {shortened(found)}. Say which: --data {example}."
        )
    raise DataError(
        f"{where} must have a column for the {role}, such as {usual[0]} or {usual[1]}, got the columns "
        f"{shortened(there) or 'none'}. If it has another name: --data {example}."
    )
