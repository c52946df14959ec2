"""What Python processes that we start may import."""

import os


def leave_out_current_directory() -> None:
    """Let Python processes that this one starts look for no module in the current directory of their own accord.

    It may be a stranger's, who has put a `pickle.py` there: a worker would import it before any of our code runs. The
    networks that a person has named are found by the path that a worker is told by the process that started it.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
