"""Examples below the options of each command's help."""


def examples(*commands: str) -> str:
    r"""The end of a command's help.

    Args:
        commands: as they are typed.

    Example:
        >>> examples("nas-prune spaces")
        '\x08\nExamples:\n  nas-prune spaces'
    """
    return "\n".join(["\b\nExamples:", *(f"  {command}" for command in commands)])
