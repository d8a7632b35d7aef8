"""Version the artifacts of finished runs with DVC, in one call, and push to the default remote.

A run's checkpoint and replay each get a pointer beside them (`checkpoint.dvc`, `replay.dvc`), so
each can be pulled alone; the fingerprint's inputs name the pointers that should exist.
`results/<budget>/versioned.json` lists the versions by run.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import RootModel

from amago2 import run_record
from amago2.errors import ConfigError, RunError
from amago2.files import sha256, write_atomically
from workflow.dag.documents import Document, Sha256, read_document
from workflow.dag.fingerprints import Fingerprint
from workflow.dag.pointers import pointer_path, read_pointer
from workflow.dag.runs import ARTIFACTS
from workflow.setup import checkout

REMEDIES = {
    "Unable to locate credentials": "set the remote's credentials as in docs/versions.md",
    "Forbidden": "the remote refuses these credentials",
    "AccessDenied": "the remote refuses these credentials",
    "InvalidAccessKeyId": "the remote does not know these credentials",
    "SignatureDoesNotMatch": "the remote refuses these credentials",
    "Could not connect": "the remote cannot be reached",
    "bucket does not exist": "create the bucket, or correct the address with `dvc remote modify`",
    "No space left": "free some disk space and try again; nothing is lost",
    "File too large": "free some disk space and try again; nothing is lost",
}
"""What to do, by a part of DVC's message."""
Versions = dict[str, dict[str, str | None]]


class Version(Document):
    """A run in `versioned.json`."""

    record: Sha256
    checkpoint: str | None
    replay: str | None


class Listed(RootModel[dict[str, Version]]):
    """What `versioned.json` holds, by run."""


class VersioningError(RunError):
    """DVC failed; the message says why, and what to do."""


def version(results: Path, wanted: Collection[str]) -> Versions:
    """Version finished runs below `results` that are not yet; returns all versions.

    `wanted` are the pointers that should exist. What was versioned before stays versioned.
    """
    listing = results / "versioned.json"
    records = sorted(results.glob("runs/*/*/*/record.json"))
    before = _before(listing)
    new = [
        folder
        for record in records
        for folder in unversioned(record, before.get(_name(record), {}))
        if f"{folder}.dvc" in wanted or Path(f"{folder}.dvc").is_file()
    ]
    if new:
        require_repository()
        for folder in map(Path, new):  # so that no damage is handed on
            run_record.check_artifact(folder.parent, folder.name, run_record.read(folder.parent))
        dvc("add", *new)
        if default_remote():
            dvc("push", *(f"{path}.dvc" for path in new))
    versions = {_name(record): state(record) for record in records}
    _refuse_edited(results, before, versions)
    write_atomically(listing, json.dumps(versions, indent=1, sort_keys=True) + "\n")
    return versions


def _refuse_edited(
    results: Path, before: Mapping[str, Mapping[str, Any]], versions: Versions
) -> None:
    """Raise `VersioningError` if a pointer names another version, though its run is the same."""
    for run, listed in before.items():
        now = versions.get(run, {})
        for name in ARTIFACTS if now.get("record") == listed["record"] else ():
            if now[name] and listed[name] and now[name] != listed[name]:
                path = pointer_path(results / "runs" / run / name)
                raise VersioningError(
                    f"{path}: names {now[name]}, and the run was versioned as {listed[name]}; "
                    f"restore it (`git checkout {path}`), or delete it to version the folder anew"
                )


def _before(listing: Path) -> Mapping[str, Mapping[str, Any]]:
    """What was versioned before; nothing if that cannot be read: then all is versioned anew."""
    try:
        return read_document(listing, Listed).model_dump()
    except (ConfigError, OSError):
        return {}


def require_repository() -> None:
    """Raise `VersioningError` outside a repository of git and DVC: DVC itself fails silently."""
    for finding in (checkout.git(), checkout.pointers()):
        if finding.mark == "missing":
            raise VersioningError(f"{finding.found}; {finding.remedy}")


def unversioned(record: Path, listed: Mapping[str, Any]) -> list[str]:
    """The run's artifacts that exist and are not versioned as they are.

    A record other than the one listed means new artifacts; none of them needs to be read.
    """
    same = listed.get("record") == sha256(record)
    folders = [record.parent / name for name in ARTIFACTS]
    return [str(path) for path in folders if path.is_dir() and not (same and _version(path))]


def state(record: Path) -> dict[str, str | None]:
    """Digest of the record, and the version of each artifact; None where there is no pointer."""
    named = {name: _version(record.parent / name) for name in ARTIFACTS}
    return {"record": sha256(record), **named}


def _version(folder: Path) -> str | None:
    """The MD5 that an artifact's pointer names."""
    pointer = read_pointer(folder)
    return pointer.md5 if pointer else None


def _name(record: Path) -> str:
    return "/".join(record.parent.parts[-3:])


def record_stage() -> None:
    """Record in `dvc.lock` that the stage `reproduce` ran on the present files.

    Otherwise `dvc status` would report it as changed after a reproduction that DVC did not start.
    """
    started_by_dvc = "DVC_STAGE" in os.environ
    if not started_by_dvc:
        require_repository()
        dvc("commit", "--force", "reproduce")


def default_remote() -> str:
    """Name of DVC's default remote; empty if none is set."""
    return dvc("config", "core.remote", check=False)


def dvc(*arguments: str, check: bool = True) -> str:
    """Run DVC after any other DVC command has ended; returns what it prints.

    Raises `VersioningError`.
    """
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CI": "1"})
    if check and done.returncode:
        raise VersioningError(f"dvc {arguments[0]} failed: {reason(done.stdout + done.stderr)}")
    return done.stdout.strip()


def reason(messages: str) -> str:
    """The lines in which DVC says what is wrong, with what to do about it where that is known."""
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    causes = [line for line in lines if re.match(r"\w+Error: \[Errno", line)]  # with `-v` only
    said = "; ".join(causes[-1:] or errors or lines[-3:]) or "no reason given"
    said = said.replace("unexpected error - ", "")
    advice = [remedy for sign, remedy in REMEDIES.items() if sign in said]
    return " - ".join([said, *advice[:1]])


def version_listed(results: Path, fingerprint: Path) -> int:
    """Version the runs whose pointers a fingerprint's inputs name; returns how many are versioned.

    Raises `VersioningError`, which names the results.
    """
    try:
        return len(version(results, Fingerprint.load(fingerprint).inputs))
    except (RunError, ConfigError) as error:
        raise VersioningError(f"{results}: artifacts are not versioned: {error}") from None
