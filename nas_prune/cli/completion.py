"""`nas-prune completion`: the script by which a shell completes what is typed."""

import os
from typing import Any, ClassVar

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from nas_prune.cli.examples import examples

PROGRAM, VARIABLE = "nas-prune", "_NAS_PRUNE_COMPLETE"
_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' response completion type value
    response=$(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1")
    for completion in $response; do
        IFS=',' read -r type value <<< "$completion"
        if [[ $type == dir ]]; then
            compopt -o dirnames
        elif [[ $type == file ]]; then
            compopt -o default
        else
            COMPREPLY+=("$value")
            if [[ $value == *[:/] ]]; then compopt -o nospace; fi
        fi
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """As click's, but for names with a colon (`folder:images`), at which bash breaks words."""

    source_template: ClassVar[str] = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor, and the beginning of the one at it."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        if not words or line[-1:].isspace():
            return words, ""
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem) -> str:
        """One line for the script: of a name with a colon, only what bash replaces."""
        typed = self.get_completion_args()[1]
        value = typed.partition("=")[2] if typed.startswith("-") else typed
        breaks = ":" in os.environ.get("COMP_WORDBREAKS", "")
        written = str(item.value)[value.rfind(":") + 1 if breaks else 0 :]
        return f"{item.type},{written.replace(' ', chr(92) + ' ')}"


def register() -> None:
    """Let click answer bash by `Bash`."""
    add_completion_class(Bash, "bash")


@click.command(
    epilog=examples(
        "nas-prune completion bash",
        "nas-prune completion zsh",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, /, *, shell: str) -> None:
    """Print the script by which SHELL completes commands, options, names and files.

    \b
    bash (4.4 or later): write it to
      ~/.local/share/bash-completion/completions/nas-prune
    or put this into ~/.bashrc:  eval "$(nas-prune completion bash)"
    zsh: put this into ~/.zshrc, below compinit:
      eval "$(nas-prune completion zsh)"
    fish: write it to ~/.config/fish/completions/nas-prune.fish

    A new terminal has it.
    """  # noqa: D301  (click's mark for lines that stay as they are)
    register()
    kind = get_completion_class(shell)
    assert kind is not None
    app: Any = context.find_root().command
    click.echo(kind(app, {}, PROGRAM, VARIABLE).source())
