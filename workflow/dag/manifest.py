"""The manifest: digests of everything that a budget made, and of what each file was made from.

Gathers the provenance records into `results/<budget>/manifest.json`: by kind and name, the SHA-256
of every output and input, of the parameters and of the code. `workflow.execute.verify` checks it.
"""

import json
from pathlib import Path
from typing import Any

from amago2.files import read_json, write_atomically
from workflow.dag.provenance import FOLDER


def manifest(results: Path) -> dict[str, Any]:
    """Gather all provenance records of `results/<budget>` but the manifest's own."""
    folder = results / FOLDER
    paths = sorted(path for path in folder.glob("*/*.json") if path.parent.name != "manifest")
    made = {str(path.relative_to(folder).with_suffix("")): read_json(path) for path in paths}
    return {"budget": results.name, "made": made}


def write(folder: Path) -> None:
    """Write the manifest of `results/<budget>`."""
    text = json.dumps(manifest(folder), indent=1, sort_keys=True) + "\n"
    write_atomically(folder / "manifest.json", text)
