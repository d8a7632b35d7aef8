"""Where the module of an environment is looked for: among what is installed, then here.

The present folder may hold what somebody else made, such as a downloaded run. If Python looked
there for every import, a file named like an optional dependency (`triton.py`) would run with the
first `import torch`. So the folder is searched only if it holds the very module that is named, and
only from the moment when that module is needed.
"""

import sys
from contextlib import suppress
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
CHECKOUT = PACKAGE.parent
"""What holds this package; in a checkout, that is where `envs` is."""


def leave() -> None:
    """Take the present folder off `sys.path`, where `python -m` and `python -c` put it first.

    A checkout stays: its code runs already.
    """
    here = Path.cwd()
    with suppress(OSError):
        if PACKAGE.samefile(here / PACKAGE.name):
            return
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry) != here]


def installed(module: str) -> bool:
    """Can the module be imported without the present folder? Imports nothing."""
    package = module.partition(".")[0]
    with suppress(ValueError):  # a name that no module can have
        return bool(find_spec(package) or PathFinder.find_spec(package, [str(CHECKOUT)]))
    return False


def allow(module: str) -> None:
    """Let the module be imported from the checkout or the present folder, if one of them has it."""
    package = module.partition(".")[0]
    with suppress(ValueError):
        for folder in (str(CHECKOUT), str(Path.cwd())):
            if not find_spec(package) and PathFinder.find_spec(package, [folder]):
                sys.path.append(folder)
