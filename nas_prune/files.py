"""Files that are either whole or absent."""

import os
import tempfile
from pathlib import Path

_UNFINISHED = ".part"


def sweep(folder: Path) -> None:
    """Remove what writes that were killed left behind, in a directory and below."""
    for path in folder.rglob(f".*{_UNFINISHED}"):
        path.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, or a crash, never sees half of it.

    The bytes go to a temporary name in the same directory, are synced, and are renamed.

    Args:
        path: where the file is to stand; its directory must exist.
        content: the bytes, or text that is encoded as UTF-8.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(pathlib.Path(folder) / "note.txt", "all or nothing")
        ...     (pathlib.Path(folder) / "note.txt").read_text()
        'all or nothing'
    """
    raw = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_UNFINISHED, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
