"""Which parameter files there are: `params/<kind>/<name>.yaml`."""

import re
from pathlib import Path

from amago2.errors import ConfigError

LONGEST_NAME = 50
"""Names become parts of others, which file systems limit to 255 bytes."""


def parameter_files(folder: Path) -> list[Path]:
    """All parameter files of a folder, in order of their names.

    Hidden files, as editors and archivers leave them, and files of other kinds are left alone.
    Raises `ConfigError` for a name that is none, such as `popgym (copy).yaml` or `popgym.yml`.
    """
    found = []
    for path in sorted(folder.glob("*")):
        if path.name.startswith(".") or path.suffix.lower() not in (".yaml", ".yml"):
            continue
        if path.suffix != ".yaml":
            raise ConfigError(f"{path}: must end in .yaml; rename or remove it")
        if not re.fullmatch("[A-Za-z0-9_]+", path.stem) or len(path.stem) > LONGEST_NAME:
            raise ConfigError(
                f"{str(path)!r}: a parameter file is named by at most {LONGEST_NAME} letters, "
                "digits and _ before .yaml; rename or remove it"
            )
        found.append(path)
    return found
