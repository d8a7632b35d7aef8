"""docs/glossary.md: every class, key and file that it names exists."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from amago2.config.schema import AmagoConfig

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "glossary.md"
ROW = re.compile(r"^\| (.+?) \| (.+?) \| (.*?) ?\| (.+?) \|$", re.MULTILINE)


def entries() -> list[tuple[str, str]]:
    """Every term, and what its last cell names."""
    rows = [row for row in ROW.findall(PAGE.read_text(encoding="utf-8")) if row[0] != "term"]
    return [(term, where) for term, _, _, cell in rows for where in re.findall("`(.+?)`", cell)]


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation allows."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models(part)


def has_key(model: type[BaseModel], key: str) -> bool:
    """Does a configuration have this dotted key?"""
    first, _, rest = key.partition(".")
    field = model.model_fields.get(first)
    if field is None:
        return False
    return not rest or any(has_key(part, rest) for part in models(field.annotation))


def has_name(dotted: str) -> bool:
    """Is there such a module, or such an attribute of one?"""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part, None)
        return found is not None
    return False


@pytest.mark.parametrize(("term", "where"), entries())
def test_what_it_names_exists(term: str, where: str) -> None:
    if "/" in where:
        assert (ROOT / where).exists(), term
    elif where.partition(".")[0] in ("amago2", "envs", "workflow"):
        assert has_name(where), term
    else:
        assert has_key(AmagoConfig, where), term


def test_terms_are_listed_once() -> None:
    terms = [row[0] for row in ROW.findall(PAGE.read_text(encoding="utf-8")) if row[0] != "term"]
    assert len(terms) >= 40
    assert len(terms) == len(set(terms))
