"""Give the bulk of finished runs to DVC, all in one call, and push it to the default remote.

    python -m workflow.dvc.add results/<budget> FINGERPRINT

A run's checkpoint and replay get a pointer each beside them (`checkpoint.dvc`, `replay.dvc`), so
that each can be pulled alone; the recipe names those that there should be.
`results/<budget>/versioned.json` lists what they name, by run.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from amago2.config.layers import read_yaml
from amago2.errors import ConfigError
from amago2.files import read_json, sha256, write_atomically
from workflow.dag.fingerprints import Fingerprint
from workflow.dag.runs import ARTIFACTS

REMEDIES = {
    "Unable to locate credentials": "give the remote its credentials, docs/versions.md says how",
    "Forbidden": "the remote refuses these credentials",
    "AccessDenied": "the remote refuses these credentials",
    "InvalidAccessKeyId": "the remote does not know these credentials",
    "SignatureDoesNotMatch": "the remote refuses these credentials",
    "Could not connect": "the remote cannot be reached",
    "bucket does not exist": "make it, or correct the address with `dvc remote modify`",
    "No space left": "free some disk and try again, nothing is lost",
    "File too large": "free some disk and try again, nothing is lost",
}
"""What helps, by what DVC says of it."""
Versions = dict[str, dict[str, str | None]]


class VersioningError(RuntimeError):
    """DVC cannot do its part; the message says what is wrong."""


def version(results: Path, wanted: Collection[str]) -> Versions:
    """Version finished runs below `results` that are not; returns what is versioned now.

    `wanted` are the pointers that there should be. What was versioned before stays so.
    """
    listing = results / "versioned.json"
    records = sorted(results.glob("runs/*/*/*/record.json"))
    before = read_json(listing)
    new = [
        bulk
        for record in records
        for bulk in unversioned(record, before.get(_name(record), {}))
        if f"{bulk}.dvc" in wanted or Path(f"{bulk}.dvc").is_file()
    ]
    if new:
        require_repository()
        dvc("add", *new)
        if default_remote():
            dvc("push", *(f"{path}.dvc" for path in new))
    versions = {_name(record): state(record) for record in records}
    write_atomically(listing, json.dumps(versions, indent=1, sort_keys=True) + "\n")
    return versions


def require_repository() -> None:
    """DVC itself says nothing at all of what is missing."""
    for sign, remedy in ((".git", "git init"), (".dvc", "dvc init")):
        if not Path(sign).exists():
            raise VersioningError(f"there is no {sign} in this folder; `{remedy}` makes one")


def unversioned(record: Path, listed: Mapping[str, Any]) -> list[str]:
    """The run's bulk that is there and not versioned as it is.

    A record other than the one listed tells of new bulk, without reading any of it.
    """
    same = listed.get("record") == sha256(record)
    bulk = [record.parent / name for name in ARTIFACTS]
    return [str(path) for path in bulk if path.is_dir() and not (same and _pointer(path))]


def state(record: Path) -> dict[str, str | None]:
    """Digest of the record, and what each pointer names; None where there is no pointer."""
    named = {name: _pointer(record.parent / name) for name in ARTIFACTS}
    return {"record": sha256(record), **named}


def _pointer(bulk: Path) -> str | None:
    path = bulk.with_name(f"{bulk.name}.dvc")
    return str(read_yaml(path)["outs"][0]["md5"]) if path.is_file() else None


def _name(record: Path) -> str:
    return "/".join(record.parent.parts[-3:])


def record_stage() -> None:
    """Have `dvc.lock` say that the stage `reproduce` was run on what is there now.

    Else `dvc status` would call it changed after a reproduction that DVC did not start.
    """
    started_by_dvc = "DVC_STAGE" in os.environ
    if Path(".dvc").is_dir() and Path(".git").exists() and not started_by_dvc:
        dvc("commit", "--force", "reproduce")


def default_remote() -> str:
    """Name of the remote that DVC pushes to; empty if none is set."""
    return dvc("config", "core.remote", check=False)


def dvc(*arguments: str, check: bool = True) -> str:
    """Run DVC, waiting for any other DVC command to end; returns what it prints."""
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CI": "1"})
    if check and done.returncode:
        raise VersioningError(f"dvc {arguments[0]} failed: {reason(done.stdout + done.stderr)}")
    return done.stdout.strip()


def reason(messages: str) -> str:
    """The lines in which DVC says what is wrong, without its advice to chat about it."""
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    causes = [line for line in lines if re.match(r"\w+Error: \[Errno", line)]  # with `-v` only
    said = "; ".join(causes[-1:] or errors or lines[-3:]) or "no reason given"
    said = said.replace("unexpected error - ", "")
    advice = [remedy for sign, remedy in REMEDIES.items() if sign in said]
    return " - ".join([said, *advice[:1]])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workflow.dvc.add", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("fingerprint", type=Path)
    given = parser.parse_args(arguments)
    try:
        versions = version(given.results, Fingerprint.load(given.fingerprint).inputs)
    except (VersioningError, ConfigError) as error:
        print(f"{given.results}: bulk is not versioned: {error}", file=sys.stderr)
        return 1
    print(f"{len(versions)} runs are versioned")
    return 0


if __name__ == "__main__":
    sys.exit(main())
