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


IMPORT_PATH = r"[A-Za-z_][\w.]*:[A-Za-z_]\w*"


def _import_path(text: str) -> str:
    module, _, name = text.partition(":")
    if module.endswith(".py"):
        raise ValueError(f"must be a module, not a file: {module.removesuffix('.py')}:{name}")
    if not re.fullmatch(IMPORT_PATH, text):
        raise ValueError(
            "must be module:Class or module:function, such as my_env:MyEnv; an id of Gymnasium, "
            "such as CartPole-v1, goes to env.id, or is all of env"
        )
    return text


ImportPath = Annotated[
    str,
    AfterValidator(_import_path),
    WithJsonSchema({"type": "string", "pattern": f"^{IMPORT_PATH}$"}),
]


def kind(default: str) -> Callable[[Any], str]:
    """Discriminator of a union by the key `kind`, which has a default."""

    def find(value: Any) -> str:
        is_mapping = isinstance(value, Mapping)
        return str(value.get("kind", default) if is_mapping else getattr(value, "kind", default))

    return find
