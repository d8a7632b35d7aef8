"""Make a part of a budget by its Snakemake rule: `figures` or `tables`."""

import subprocess
import sys

from workflow.config.experiments import Selection
from workflow.dag.plan import plan
from workflow.execute.checks import check_checkout, check_drawing, check_runs


def make(selection: Selection, rule: str) -> int:
    """Run Snakemake with the default profile; returns 0 or 1.

    Raises `ConfigError`, and `RunError` for damaged runs.
    """
    # A mistake in a parameter file is a sentence here, and a traceback there.
    dag = plan(selection)
    check_checkout(dag)
    check_runs(dag)
    check_drawing()
    options = [f"{key}={value}" for key, value in selection.options().items()]
    command = [sys.executable, "-m", "snakemake", rule, "--config", *options]
    return int(subprocess.run(command).returncode != 0)
