"""Options whose words may name code of a person's own, which the command line vouches for: a task, and images."""

from typing import Any

import click
from click.shell_completion import CompletionItem


class _Task(click.ParamType[str]):
    """A task's name, which the command line vouches for."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """As a typed name; one that nothing has is refused before anything else is done."""
        from nas_prune.data.tasks import known_task
        from nas_prune.runs.typed import typed_here

        return typed_here(known_task(value))

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Tasks whose names begin so."""
        from nas_prune.data.tasks import task_names

        return [CompletionItem(name) for name in task_names() if name.startswith(incomplete)]


TASK = _Task()


class _Data(click.ParamType[str]):
    """The name of images."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """As it is typed; vouched for where it names code."""
        from nas_prune.runs.own_code import names_code
        from nas_prune.runs.typed import typed_here

        return typed_here(value) if names_code(value) else value


DATA = _Data()
