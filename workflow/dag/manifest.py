"""Digests of everything that a budget made, and of all that each was made from.

    python -m workflow.dag.manifest results/<budget>

Gathers the receipts into `results/<budget>/manifest.json`: by kind and name, the SHA-256 of every
output and input, and of the parameters and the code. `workflow.execute.verify` checks it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amago2.files import write_atomically
from workflow.dag.fingerprints import read


def manifest(folder: Path) -> dict[str, Any]:
    """The content, from the receipts below `folder` except the manifest's own."""
    receipts = folder / "receipts"
    paths = sorted(path for path in receipts.glob("*/*.json") if path.parent.name != "manifest")
    made = {str(path.relative_to(receipts).with_suffix("")): read(path) for path in paths}
    return {"budget": folder.name, "made": made}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workflow.dag.manifest", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    text = json.dumps(manifest(folder), indent=1, sort_keys=True) + "\n"
    write_atomically(folder / "manifest.json", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
