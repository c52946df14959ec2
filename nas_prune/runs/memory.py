"""Memory that a training frees and needs again at the next step."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of settings in glibc's malloc.h
_ALWAYS, _LARGEST = (
    2**31 - 1,
    2**30,
)  # bytes: what is freed at the top stays; what is smaller is taken from there


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, so that the next step does not get it from the system page by page.

    glibc gives large blocks back at once, and every step of a training asks for the same ones again. It holds for the
    whole process, which then keeps as much as it needed at most; a program of somebody's own decides for itself.

    Returns:
        Whether it is so: on Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(set_option(_MMAP_THRESHOLD, _LARGEST)) and bool(set_option(_TRIM_THRESHOLD, _ALWAYS))
