"""The command line that all baselines have: `python -m workflow.baselines.<trainer> SETTINGS`."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from amago2.config.schema import RunConfigT, load_as
from amago2.errors import ConfigError, RunError
from amago2.training.trainer import Run, carry_out


def main(
    kind: type[RunConfigT],
    make: Callable[[RunConfigT, Path], Run],
    arguments: Sequence[str] | None = None,
) -> int:
    """Train a run, or go on with it; returns the exit code: 2 for a user's mistake, else 1."""
    parser = argparse.ArgumentParser(description=f"Train a {kind.__name__.removesuffix('Config')}.")
    parser.add_argument("settings", type=Path, help="complete configuration, a YAML file")
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished run")
    parser.add_argument("--scratch", type=Path, help="folder of the unfinished run, on that disk")
    parser.add_argument("--provenance", type=Path, help="JSON file to add to the run's record")
    given = parser.parse_args(arguments)
    try:
        config = load_as(kind, given.settings)
        notes = json.loads(given.provenance.read_text()) if given.provenance else {}
        carry_out(make, config, given.out, given.scratch, notes)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
        return 130
    except (ConfigError, RunError, OSError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    return 0
