"""Every run that is being trained, its speed and the time left: `make status`.

Only reads files, so it works on any machine that sees them.
"""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from amago2.printing import plain
from workflow.config.experiments import Selection
from workflow.dag.plan import Dag, plan
from workflow.estimate.formatting import duration, short_number
from workflow.execute.progress import Progress, label, progress_of


def show(dag: Dag, console: Console) -> None:
    """Print what is being trained, and what waits or was interrupted."""
    progress = Progress(dag, since=0)
    training = {each.run.name: each for each in progress.training()}
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(f"budget {dag.selection.budget}", no_wrap=True)
    for name in ("phase", "done", "steps", "updates", "steps/s", "updates/s", "time left, about"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in progress.runs:
        if each := training.get(run.name):
            counts = (short_number(each.state["env_steps"]), short_number(each.state["updates"]))
            speeds = (f"{each.speed(what):.3g}" for what in ("env_steps", "updates"))
            left = each.left_s()
            rest = "-" if left is None else duration(left)
            table.add_row(
                label(run),
                Text(plain(each.state["phase"])),
                f"{each.done:.0%}",
                *counts,
                *speeds,
                rest,
            )
        elif state := progress_of(run):
            table.add_row(label(run), "interrupted", f"{state['done']:.0%}")
    if table.row_count:
        console.print(table)
    finished = progress.total - len(progress.runs)
    waiting = len(progress.runs) - table.row_count
    console.print(
        f"{finished} of {progress.total} runs are finished, {len(training)} are being trained, "
        f"{table.row_count - len(training)} are interrupted, {waiting} have not begun; "
        f"{len(progress.targets)} tables, figures and lists are to be made."
    )


def report(selection: Selection) -> None:
    """Print the state of every run of a selection, at this moment. Raises `ConfigError`."""
    show(plan(selection), Console(width=max(120, Console().width), highlight=False, markup=False))
