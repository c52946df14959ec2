"""The console script; `python -m nas_prune`, and `torchrun --nproc-per-node 2 -m nas_prune`."""

import os
import signal
import sys


def _leave(*_: object) -> None:
    """End at once, as a handler of signals: nothing is loaded yet, so that nothing can be lost."""
    os.write(2, b"stopped\n")
    os._exit(130)


def run() -> None:
    """Run one command; Ctrl-C is one line also while it is being loaded."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from nas_prune.cli import main

    code = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said, and Python's own end would print a traceback
    sys.exit(code)


if __name__ == "__main__":
    run()
