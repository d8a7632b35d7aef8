"""Types of the fields of a configuration."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

LARGEST = 10**12
"""Of counts and sizes; more is a slip of the keyboard."""
Positive = Annotated[int, Field(gt=0, le=LARGEST)]
Natural = Annotated[int, Field(ge=0, le=LARGEST)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Switch = Annotated[
    Literal[True] | None,
    BeforeValidator(lambda value: None if value is False else value),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "null"}], "default": None}),
]
"""Off by default: true or null, as which false is read, and which is not hashed."""


NAME = r"^[a-z0-9_]{1,50}$"
Name = Annotated[str, Field(pattern=NAME)]
"""Part of the names of files and folders."""
SPLIT = r"^[^/\x00-\x1f\x7f]{1,100}$"
Split = Annotated[str, Field(pattern=SPLIT)]
"""Name of an evaluation set, which becomes a part of a file's name."""


def _import_path(text: str) -> str:
    module, _, name = text.partition(":")
    if module.endswith(".py"):
        raise ValueError(f"must be a module, not a file: {module.removesuffix('.py')}:{name}")
    if not re.fullmatch(_IMPORT_PATH, text):
        raise ValueError(
            "must be module:Class, such as my_env:MyEnv; an environment that is registered with "
            "Gymnasium is named by its class, such as "
            "gymnasium.envs.classic_control.cartpole:CartPoleEnv for CartPole-v1"
        )
    return text


_IMPORT_PATH = r"[A-Za-z_][\w.]*:[A-Za-z_]\w*"
ImportPath = Annotated[
    str,
    AfterValidator(_import_path),
    WithJsonSchema({"type": "string", "pattern": f"^{_IMPORT_PATH}$"}),
]


def kind(default: str) -> Callable[[Any], str]:
    """Discriminator of a union by the key `kind`, which has a default."""

    def find(value: Any) -> str:
        is_mapping = isinstance(value, Mapping)
        return str(value.get("kind", default) if is_mapping else getattr(value, "kind", default))

    return find
