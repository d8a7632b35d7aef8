"""What a user is told of errors that are no mistake in the code."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from amago2.errors import ADVICE, ConfigError, RunError, first_mistake, sentence
from amago2.files import atomic, naming


@pytest.mark.parametrize("number", sorted(ADVICE))
def test_an_error_of_the_system_names_its_file_and_what_to_do(number: int) -> None:
    with pytest.raises(OSError, match="folder/file") as raised, naming(Path("folder/file")):
        raise OSError(number, os.strerror(number))
    said = sentence(raised.value) or ""
    assert said.startswith(f"folder/file: {os.strerror(number)}; ")
    assert said.endswith(ADVICE[number])


def test_a_file_is_named_by_what_it_was_to_become(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def fill_the_disk() -> None:
        with atomic(path) as partial:
            partial.write_text("half")
            raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="file") as raised:
        fill_the_disk()
    assert raised.value.filename == str(path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError) as missing, atomic(tmp_path / "no" / "file") as partial:
        partial.write_text("x")
    assert sentence(missing.value) == f"{tmp_path}/no/file: No such file or directory"


def test_memory_that_runs_out_is_a_sentence() -> None:
    with pytest.raises(MemoryError) as by_numpy:
        np.empty(2**58)
    with pytest.raises(RuntimeError) as by_torch:
        torch.empty(2**58)
    for error in (by_numpy.value, by_torch.value, MemoryError()):
        said = sentence(error) or ""
        assert "out of memory; end other programs" in said
        assert "\n" not in said


def test_mistakes_in_the_code_say_nothing_to_a_user() -> None:
    for error in (ValueError("x"), RuntimeError("shape mismatch"), KeyError("x"), TypeError()):
        assert sentence(error) is None
    assert sentence(ConfigError("key: wrong")) == "key: wrong"
    assert sentence(RunError("no run")) == "no run"
    assert sentence(OSError("5 requested and 3 written")) == "5 requested and 3 written"


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    hash: str
    steps: dict[str, int] = {}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[]", "its content must be an object with keys"),
        ("{}", "hash is missing"),
        ('{"hash": "x", "more": 1}', "more is unknown"),
        ('{"hash": 5}', "hash: must be a valid string"),
        ('{"hash": "x", "steps": {"a": "b"}}', "steps.a: must be a valid integer"),
    ],
)
def test_the_first_mistake_of_a_document(content: str, told: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Document.model_validate_json(content)
    assert first_mistake(raised.value) == told
