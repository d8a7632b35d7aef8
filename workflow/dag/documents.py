"""JSON files that may come from somebody else: of bounded size and of the expected form."""

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from amago2.errors import ConfigError, first_mistake
from amago2.files import MAX_JSON_BYTES, open_regular

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]
_Document = TypeVar("_Document", bound=BaseModel)


class Document(BaseModel):
    """A JSON object whose keys and types are all known."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Provenance(Document):
    """A provenance record: SHA-256 of what a target was made from, and of what came out."""

    parameters: Sha256
    code: Sha256
    inputs: dict[str, Sha256 | None]
    """By path; None for a file that did not exist."""
    outputs: dict[str, Sha256]


def read_document(path: Path, kind: type[_Document]) -> _Document:
    """Read a file as `kind`.

    Raises `ConfigError`, which names the file and the first key that is wrong, and
    `FileNotFoundError`.
    """
    with open_regular(path, MAX_JSON_BYTES) as file:
        content = file.read(MAX_JSON_BYTES)
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise ConfigError(f"{path}: {first_mistake(error)}; restore it, or delete it") from None
