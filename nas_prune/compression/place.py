"""Where a compression writes: its directory, the file in it or beside it, and the decoder next to that file."""

from pathlib import Path

from nas_prune.coding import decode
from nas_prune.coding.file import SUFFIX
from nas_prune.errors import BadInputError
from nas_prune.runs.directory import check_out
from nas_prune.runs.files import is_there, write_whole
from nas_prune.runs.reading import read_bytes

DECODER = "decode.py"
_MOST_FILE = 2**34  # bytes of a network's file


def new_place(out: Path | None) -> tuple[Path | None, bool]:
    """The directory of a new run, and whether the file lies beside it.

    Args:
        out: a new or empty directory, or a new file `….nasp`, beside which a directory of its name is made.

    Raises:
        BadInputError: something is there.
    """
    if out is None or out.suffix != SUFFIX:
        check_out(out)
        return out, False
    folder = out.with_suffix("")
    if is_there(out):
        raise BadInputError(f"--out must be a new file, got {out}, which is there. Choose another name.")
    if is_there(folder):
        raise BadInputError(
            f"--out {out} puts the settings and the account into {folder}, which is there. Choose another name."
        )
    if is_there(out.with_name(DECODER)) and not _is_decoder(out.with_name(DECODER)):
        raise BadInputError(
            f"--out {out} puts {DECODER} beside it, and another file of that name is there. Choose another directory."
        )
    return folder, True


def write_beside(path: Path, content: bytes) -> None:
    """Write the file and its decoder.

    Raises:
        BadInputError: another file has one of these names by now; nothing is written then.
    """
    decoder = path.with_name(DECODER)
    for one, is_own in ((path, _holds(path, content)), (decoder, _is_decoder(decoder))):
        if is_there(one) and not is_own:
            raise BadInputError(
                f"{one} must be free for what is written, and another file is there by now. Move that, and go on."
            )
    write_whole(path, content)
    write_whole(decoder, _decoder())


def _decoder() -> bytes:
    return Path(decode.__file__).read_bytes()


def _is_decoder(path: Path) -> bool:
    """Whether a file is a decoder of ours, be it an earlier one."""
    try:
        return read_bytes(path).partition(b"\n")[0] == _decoder().partition(b"\n")[0]
    except OSError:
        return False


def _holds(path: Path, content: bytes) -> bool:
    try:
        return read_bytes(path, most=_MOST_FILE) == content
    except OSError:
        return False
