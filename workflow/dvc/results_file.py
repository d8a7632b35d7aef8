"""Describe a budget's results to DVC: writes `results/<budget>/dvc.yaml`.

Lists metrics, plots and an artifact for each versioned checkpoint. It lies beside the results, so
DVC sees exactly the budgets that have results.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from amago2.files import write_atomically
from workflow.dag.documents import read_document
from workflow.dag.fingerprints import Fingerprint
from workflow.dvc.add import Listed


def describe(results: Path, plots: Sequence[Path], versions: Mapping[str, Any]) -> dict[str, Any]:
    """Build the content, with paths relative to `results`."""
    content: dict[str, Any] = {}
    if (results / "metrics").is_dir():
        content["metrics"] = ["metrics"]
    drawn = [str(path.relative_to(results)) for path in plots if path.is_file()]
    if drawn:
        content["plots"] = sorted(drawn)
    content["artifacts"] = {
        artifact(run): {"path": f"runs/{run}/checkpoint", "type": "model"}
        for run, pointers in sorted(versions.items())
        if pointers["checkpoint"]
    }
    return content


def artifact(run: str) -> str:
    """A run's name in the letters that DVC allows for artifacts."""
    return run.replace("_", "-").replace("/", "-")


def write(fingerprint_file: Path) -> None:
    """Write the file that is a fingerprint's output, from its inputs."""
    fingerprint = Fingerprint.load(fingerprint_file)
    listing, *plots = map(Path, fingerprint.inputs)
    (target,) = map(Path, fingerprint.outputs)
    content = describe(target.parent, plots, read_document(listing, Listed).model_dump())
    head = "# Made by workflow/dvc/results_file.py; not edited by hand.\n"
    write_atomically(target, head + yaml.safe_dump(content, sort_keys=False, width=1000))
