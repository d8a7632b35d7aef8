"""Make a part of a budget by its Snakemake rule: `figures` or `tables`.

If the repository holds results of some experiments, the part is theirs unless others are asked for:
what nobody has trained yet is not trained for a figure.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from workflow.config.experiments import Selection
from workflow.dag import published
from workflow.dag.plan import plan
from workflow.execute.checks import check_checkout, check_drawing, check_runs


def make(selection: Selection, rule: str) -> int:
    """Run Snakemake with the default profile; returns 0 or 1.

    Raises `ConfigError`, and `RunError` for damaged runs.
    """
    shown = published.read(Path("results") / selection.budget).experiments
    if shown and not (selection.experiments or selection.benchmarks):
        print(f"of what is published, {', '.join(shown)}; EXPERIMENT=name makes others")
        selection = replace(selection, experiments=tuple(shown))
    # A mistake in a parameter file is a sentence here, and a traceback there.
    dag = plan(selection)
    check_checkout(dag)
    check_runs(dag)
    check_drawing()
    options = [f"{key}={value}" for key, value in selection.options().items()]
    command = [sys.executable, "-m", "snakemake", rule, "--config", *options]
    return int(subprocess.run(command).returncode != 0)
