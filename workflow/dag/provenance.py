"""Provenance records: what each target was last made from, committed beside the results.

A record has the SHA-256 of the parameters, the code, every input and every output. A job removes
its target's record before it starts and writes it when all outputs are there, so a record never
describes files that an interrupted job left half made.
"""

import json
from pathlib import Path
from typing import Any

from amago2.errors import RunError
from amago2.files import read_json, write_atomically
from workflow.dag.fingerprints import Digests, Fingerprint, file_digest, file_digests

FOLDER = "provenance"
"""Of the records, below `results/<budget>`."""


def record_path(results: Path, kind: str, name: str) -> Path:
    """Where the record of a target of `results/<budget>` is kept."""
    return results / FOLDER / kind / f"{name}.json"


def agreeing(fingerprint: Fingerprint, known: Digests) -> dict[str, str] | None:
    """Digests of the outputs, if the target was last made from what its fingerprint says; or None.

    `known` has digests of inputs that need not be read. Whether the outputs are still as recorded
    is for `intact` to say.
    """
    record = read_json(Path(fingerprint.provenance))
    outputs = record.get("outputs")
    if not isinstance(outputs, dict) or sorted(outputs) != sorted(fingerprint.outputs):
        return None
    agrees = record == _content(fingerprint, file_digests(fingerprint.inputs, known), outputs)
    return outputs if agrees else None


def intact(outputs: Digests) -> bool:
    """Are these files there, with these digests? One that is damaged or edited is not."""
    return all(digest == file_digest(Path(path)) for path, digest in outputs.items())


def _content(fingerprint: Fingerprint, inputs: Digests, outputs: Digests) -> dict[str, Any]:
    return {
        "parameters": fingerprint.parameters,
        "code": fingerprint.code,
        "inputs": inputs,
        "outputs": outputs,
    }


def write_record(fingerprint: Fingerprint) -> None:
    """Record what the target was made from and what came out. Raises `RunError`."""
    outputs = file_digests(fingerprint.outputs)
    for path, digest in outputs.items():
        if digest is None:
            raise RunError(f"{path}: the job ended without writing this file")
    record = _content(fingerprint, file_digests(fingerprint.inputs), outputs)
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    write_atomically(Path(fingerprint.provenance), text)
