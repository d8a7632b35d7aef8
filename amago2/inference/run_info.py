"""What a run's folder tells of itself: configuration, provenance, and whether it is intact."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amago2 import run_record
from amago2.config.layers import Layer
from amago2.config.schema import TRAINING_VERSION, load
from amago2.inference.stored_run import config_file
from amago2.printing import say, show


def show_info(run: Path, overrides: Sequence[Layer] = ()) -> None:
    """Print it. Imports no environment. Raises `ConfigError` or `RunError` for a damaged run."""
    config = load(config_file(run), overrides)
    facts: dict[str, Any] = {
        "run": config.run_name,
        "budget": config.budget,
        "variant": f"{config.agent.actor} actor, {config.agent.critic} critic",
        "environment": config.env.name,
    }
    facts["training_version"] = config.training_version
    finished = (run / run_record.NAME).exists()
    if finished:
        record = run_record.check(run)
        facts |= record
        for key in run_record.DIGESTS & record.keys():
            facts[key] = f"{len(record[key])} files"
    facts |= _marks(facts)
    show((key, "not recorded" if value is None else value) for key, value in facts.items())
    if finished:
        say(f"{run}: intact (every SHA-256 is as recorded)")
        _check_artifacts(run, config.checkpoint.with_replay)
    else:
        from amago2.training.checkpoint import checkpoint_folder, verify

        verify(folder := checkpoint_folder(run))
        say(f"{folder}: intact (every SHA-256 is as recorded)")
        if folder != run:
            say(
                f"{run}: has no {run_record.NAME}: the run is not finished, or its record is lost; "
                "only its checkpoint could be checked"
            )


def _check_artifacts(run: Path, with_replay: bool) -> None:
    """Check a finished run's folders. One that DVC keeps, or that is not kept, may be missing."""
    record = run_record.read(run)
    for name in run_record.ARTIFACTS:
        folder = run / name
        if name == "best" and f"{name}_sha256" not in record:
            continue
        unkept = name == "replay" and not with_replay
        if folder.exists() or not (unkept or folder.with_name(f"{name}.dvc").exists()):
            run_record.check_artifact(run, name, record)
            say(f"{folder}: intact (every SHA-256 is as recorded)")
        else:
            fetch = "it was not kept" if unkept else run_record.fetching(run, name)
            say(f"{folder}: is not here; {fetch}")


def _marks(facts: dict[str, Any]) -> dict[str, str]:
    """Warnings about a run whose numbers cannot simply be compared with others."""
    marks = {}
    if facts["training_version"] != TRAINING_VERSION:
        marks["training_version"] = (
            f"{facts['training_version']} (OTHER TRAINING CODE: this is version "
            f"{TRAINING_VERSION}, results are not comparable)"
        )
    if facts.get("git_dirty"):
        marks["git_dirty"] = "True (TRAINED WITH UNCOMMITTED CHANGES)"
    if facts.get("resumed") == "not bit-exact":
        marks["resumed"] = "not bit-exact (ITS ENVIRONMENT DID NOT REPEAT WHEN IT WAS RESUMED)"
    return marks
