"""Provenance records: what each target was last made from, committed beside the results.

A record has the SHA-256 of the parameters, the code, every input and every output. A job removes
its target's record before it starts and writes it when all outputs are there, so a record never
describes files that an interrupted job left half made.
"""

import json
from pathlib import Path

from amago2.errors import RunError
from amago2.files import read_json, write_atomically
from workflow.dag.fingerprints import Digests, Fingerprint, file_digests

FOLDER = "provenance"
"""Of the records, below `results/<budget>`."""


def record_path(results: Path, kind: str, name: str) -> Path:
    """Where the record of a target of `results/<budget>` is kept."""
    return results / FOLDER / kind / f"{name}.json"


def agrees(fingerprint: Fingerprint, known: Digests) -> bool:
    """Was the target last made from what its fingerprint says?

    `known` has digests of files that need not be read.
    """
    record = read_json(Path(fingerprint.provenance))
    return (
        record.get("parameters") == fingerprint.parameters
        and record.get("code") == fingerprint.code
        and record.get("inputs") == file_digests(fingerprint.inputs, known)
        and sorted(record.get("outputs", {})) == sorted(fingerprint.outputs)
    )


def write_record(fingerprint: Fingerprint) -> None:
    """Record what the target was made from and what came out. Raises `RunError`."""
    outputs = file_digests(fingerprint.outputs)
    for path, digest in outputs.items():
        if digest is None:
            raise RunError(f"{path}: the job ended without writing this file")
    record = {
        "parameters": fingerprint.parameters,
        "code": fingerprint.code,
        "inputs": file_digests(fingerprint.inputs),
        "outputs": outputs,
    }
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    write_atomically(Path(fingerprint.provenance), text)
