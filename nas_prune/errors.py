"""The errors a user can cause: one clear line each, with what to do."""


class NasPruneError(Exception):
    """Something the user can correct; the command line prints it in one line and exits with 2."""


class BadInputError(NasPruneError, ValueError):
    """A value, a name or a file that cannot be used as it is."""


class DamagedError(BadInputError):
    """A file of a run that is incomplete, or whose content does not match its checksum.

    Attributes:
        problem: what is wrong with it, without what to do.
    """

    def __init__(self, problem: str, advice: str = "Start the run again.") -> None:
        super().__init__(f"{problem} {advice}")
        self.problem = problem


class NothingToSearchError(BadInputError):
    """A width method that can score nothing in a network.

    Attributes:
        problem: what it looks for, without what to do.
    """

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(f"{problem}{advice}")
        self.problem = problem


class BudgetError(NasPruneError, ValueError):
    """A budget that is not well formed or that no widths can meet."""


class WidthsError(NasPruneError, ValueError):
    """A widths file, or a vector of widths, that does not fit its network."""


class GuidelineError(NasPruneError, ValueError):
    """A guideline that cannot be read, fitted or applied as asked."""


class FileError(NasPruneError, OSError):
    """A file that cannot be written."""


class DataError(NasPruneError, ValueError):
    """Images or labels that cannot be used."""


class StorageError(NasPruneError, OSError):
    """A storage of studies that cannot be opened, or does not answer."""
