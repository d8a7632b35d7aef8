"""The record of a finished run, and whether the run's folder is as it says.

`record.json` is written last and holds the SHA-256 of every file that the run published, and one of
itself. TensorBoard's events, which say again what is in `metrics.csv`, are left out.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from amago2.errors import ConfigError, RunError, first_mistake
from amago2.files import check_sums, naming, open_regular, sha256, sums

NAME = "record.json"
MAX_BYTES = 64 * 2**20
"""A record of the paper's largest run, with its 15,000 shards, has 2 MiB."""
TABLES = ("metrics", "evaluations", "compute", "probe")
FILES = ("config.yaml", *(f"{table}.csv" for table in TABLES))
"""Of a run's folder, those that git keeps beside the record."""
ARTIFACTS = ("checkpoint", "replay", "best")
"""Folders of a run, which DVC may keep instead: they need not be there."""
DIGESTS = {f"{name}_sha256" for name in ("files", *ARTIFACTS)}
"""Keys of a record under which lie the SHA-256 of files, by name."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$")]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Digests = dict[FileName, Sha256]


class _Schema(BaseModel):
    """What a record must say; it says more."""

    model_config = ConfigDict(strict=True, extra="allow")
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    training_version: Annotated[int, Field(gt=0)]
    started: str
    ended: str
    resumptions: Count
    resumed: str
    dropped_rollouts: Count
    wall_s: Seconds
    cpu_s: Seconds
    env_steps: Count
    updates: Count
    files_sha256: Digests
    checkpoint_sha256: Digests
    replay_sha256: Digests = {}
    best_sha256: Digests = {}
    record_sha256: Sha256


def digests(run: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of a run's own files, and of those of each artifact, under their keys in a record."""
    own = {name: sha256(run / name) for name in FILES if (run / name).is_file()}
    folders = {name: sums(run / name) for name in ARTIFACTS if (run / name).is_dir()}
    return {"files_sha256": own} | {f"{name}_sha256": found for name, found in folders.items()}


def seal(content: Mapping[str, Any]) -> str:
    """A record's text: the content and, as its last key, the SHA-256 of all others."""
    unsealed = {key: value for key, value in content.items() if key != "record_sha256"}
    return json.dumps({**unsealed, "record_sha256": _digest(unsealed)}, indent=1) + "\n"


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps({k: v for k, v in content.items() if k != "record_sha256"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read(run: Path) -> dict[str, Any]:
    """The record of a finished run.

    Raises `ConfigError` if there is none, `RunError` if it is not whole.
    """
    path = run / NAME
    try:
        with naming(path), open_regular(path, MAX_BYTES) as file:
            content = json.loads(file.read())
        _Schema.model_validate(content)
    except FileNotFoundError:
        raise ConfigError(f"{run}: no finished run here (no {NAME})") from None
    except ValidationError as error:
        raise RunError(_damaged(path, first_mistake(error))) from None
    except ConfigError as error:
        raise RunError(str(error)) from None
    except (ValueError, RecursionError):
        raise RunError(_damaged(path, "it is no JSON")) from None
    if _digest(content) != content["record_sha256"]:
        raise RunError(_damaged(path, "its content is not that of its own SHA-256"))
    return content


def _damaged(path: Path, why: str) -> str:
    return (
        f"{path}: is damaged ({why}); restore it, from git or a copy, or delete the run's folder "
        "and train it again"
    )


def check(run: Path, *artifacts: str) -> dict[str, Any]:
    """The record of a finished run, whose files and these artifacts are as it says.

    Raises `RunError`, which names the first file that is missing, damaged or not the run's.
    """
    record = read(run)
    check_sums(run, record["files_sha256"])
    for name in FILES:
        if name not in record["files_sha256"] and (run / name).exists():
            raise RunError(f"{run}: {name} is not part of the run (its {NAME} does not list it)")
    for name in artifacts:
        check_artifact(run, name, record)
    return record


def fetching(run: Path, name: str) -> str:
    """How to get an artifact that DVC keeps: plain `dvc pull` believes any pointer."""
    return f"`make pull FOLDER={run}{' REPLAY=1' if name == 'replay' else ''}` fetches it"


def check_artifact(run: Path, name: str, record: Mapping[str, Any]) -> None:
    """Check the folder `name` of a run against its record, as `check` does."""
    folder = run / name
    expected: Mapping[str, str] = record.get(f"{name}_sha256", {})
    if not folder.is_dir():
        fetch = f"; {fetching(run, name)}" if Path(f"{folder}.dvc").exists() else ""
        raise RunError(f"{run}: its {name} is missing{fetch}")
    check_sums(folder, expected)
    for path in sorted(folder.iterdir()):
        if path.name not in expected and not path.name.startswith("."):
            raise RunError(
                f"{folder}: {path.name} is not part of the run ({NAME} does not list it)"
            )
