"""Completion of commands and options by the shell.

A shell completes a command of one word, and `python -m workflow` has three. So the script defines a
function `workflow` that stands for them, with the completion that typer makes for that name.
"""

import contextlib
import io
import os
import re
from enum import StrEnum
from typing import Annotated

import typer

NAME = "workflow"
COMMAND = "python -m workflow"
VARIABLE = "_WORKFLOW_COMPLETE"
"""Set by the script when it asks for completions; typer answers it."""


class Shell(StrEnum):
    """Shells whose functions are defined in the same words."""

    BASH = "bash"
    ZSH = "zsh"


def register(app: typer.Typer) -> None:
    """Add the command to an application."""

    @app.command(rich_help_panel="Project")
    def completion(
        shell: Annotated[Shell, typer.Argument(help="The shell that is to complete.")],
    ) -> None:
        """Print a script that defines `workflow` for this command, with completion.

        In your shell's start-up file, or once: eval "$(python -m workflow completion bash)"
        """
        print(script(app, shell))


def script(app: typer.Typer, shell: Shell) -> str:
    """The function and typer's completion script for it, which calls the three words."""
    said, before = io.StringIO(), os.environ.get(VARIABLE)
    os.environ[VARIABLE] = f"source_{shell}"
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            app([], prog_name=NAME, complete_var=VARIABLE)
    finally:
        os.environ.pop(VARIABLE)
        os.environ.update({VARIABLE: before} if before else {})
    function = f'{NAME}() {{ {COMMAND} "$@"; }}'
    calls = re.compile(rf"(?<==complete_{shell} )(\$1|{NAME})\b")
    return f"{function}\n{calls.sub(COMMAND, said.getvalue().strip())}"
