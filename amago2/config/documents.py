"""YAML documents: read without surprises or unbounded memory, and written to be read back equal.

YAML 1.1 as PyYAML's safe loader reads it, with two changes: `1e-4` is a number, as in YAML 1.2, and
what would silently become something else than it looks like is refused (dates, `1:30`, `010`).
"""

import re
from pathlib import Path
from typing import Any

import yaml

from amago2.errors import ConfigError
from amago2.files import open_regular

MAX_BYTES = 1 << 20
MAX_VALUES = 20_000
"""Keys and values of a document, each alias counted as what it stands for."""
MAX_DEPTH = 40
"""Levels of lists and mappings in each other."""
MAX_DIGITS = 1000
_TOO_MANY = f"more than {MAX_VALUES:,} values, each alias counted as what it stands for"
_TOO_DEEP = f"more than {MAX_DEPTH} lists and mappings in each other"
_TAG = "tag:yaml.org,2002:"
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML, but not read here: `problem` is a whole sentence."""


class _Loader(yaml.SafeLoader):
    """The safe loader, with limits, unique keys and anchors, and without tags."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._keys: list[str] = []
        """Of what is being read."""
        self._level = self._nodes = 0
        self._extents: dict[yaml.Node, tuple[int, int]] = {}
        """Values and levels of each finished node."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        is_key = parent is None or index is None
        name = index.value if isinstance(index, yaml.ScalarNode) else index
        self._keys += [] if is_key else [str(name)]
        node = self._compose(parent, index)
        self._keys = self._keys if is_key else self._keys[:-1]
        return node

    def _compose(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark, anchor = event.start_mark, event.anchor
        if isinstance(event, yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if node is not None and node not in self._extents:
                raise self._refused(mark, f"*{anchor} is part of what it stands for")
            return node
        if anchor in self.anchors:
            raise self._refused(mark, f"&{anchor} is given twice; give each anchor its own name")
        if event.tag is not None:
            tag = printable(event.tag.replace(_TAG, "!!"))
            raise self._refused(mark, f"{tag} is a tag; write a plain value, text in quotes")
        self._level, self._nodes = self._level + 1, self._nodes + 1
        if self._nodes > MAX_VALUES:
            raise self._refused(mark, _TOO_MANY)
        node = super().compose_node(parent, index) if self._level <= MAX_DEPTH else None
        self._level -= 1
        if node is None:
            raise self._refused(mark, _TOO_DEEP)
        self._check(node)
        return node

    def _refused(self, mark: yaml.Mark | None, problem: str) -> _Refused:
        where = f"{printable('.'.join(self._keys))}: " if self._keys else ""
        return _Refused(problem=f"{where}{problem}", problem_mark=mark)

    def _check(self, node: yaml.Node) -> None:
        inner = []
        if isinstance(node, yaml.ScalarNode):
            self._check_scalar(node)
        elif isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
            self._check_keys(node)
        else:
            inner = node.value
        values = 1 + sum(self._extents[part][0] for part in inner)
        levels = 1 + max((self._extents[part][1] for part in inner), default=0)
        if values > MAX_VALUES:
            raise self._refused(node.start_mark, _TOO_MANY)
        if levels > MAX_DEPTH:
            raise self._refused(node.start_mark, _TOO_DEEP)
        self._extents[node] = values, levels

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen = set()
        for key_node, _ in node.value:
            mark = key_node.start_mark
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._refused(mark, "a key must be text or a whole number, in one line")
            is_merge = key_node.tag == f"{_TAG}merge"
            key = key_node.value if is_merge else self.construct_object(key_node)
            if key in seen:
                name = printable(key_node.value)
                raise self._refused(
                    mark, f"key {name} is given twice in one mapping; keep one of them"
                )
            seen.add(key)

    def _check_scalar(self, node: yaml.ScalarNode) -> None:
        """Refuse what is read as something else than it looks like, or cannot be stored."""
        text, tag = node.value, node.tag.removeprefix(_TAG)
        what = None
        if tag == "timestamp":
            what = "a date to YAML"
        elif tag == "value":
            what = "a sign with a meaning of its own to YAML"
        elif tag in ("int", "float"):
            if ":" in text:
                what = "a number of base 60 to YAML"
            elif tag == "int" and re.match(r"[-+]?0[0-9_]", text):
                what = "an octal number to YAML"
            elif not self._is_storable(node):
                what = "a number that cannot be stored"
        if what:
            problem = f"{printable(text)} is {what}; put it in quotes if it is text"
            raise self._refused(node.start_mark, problem)

    def _is_storable(self, node: yaml.ScalarNode) -> bool:
        try:
            value = self.construct_object(node)
            return len(str(value)) <= MAX_DIGITS and (
                abs(value) != float("inf") or "inf" in node.value.lower()
            )
        except ValueError:
            return False


class _Dumper(yaml.SafeDumper):
    """Puts in quotes what the loader would not read as text; writes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+.0123456789"))


def read_yaml(path: Path | str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises `ConfigError`, which names the file and the line, if it is missing, no regular file, too
    large, empty, not YAML, or not a mapping.
    """
    try:
        with open_regular(path, MAX_BYTES) as file:
            text = file.read(MAX_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: is not text in UTF-8 (byte {error.start + 1}); save it as UTF-8"
        ) from None
    data = parse_yaml(text, str(path))
    if not data and not isinstance(data, list | bool | int | float):
        raise ConfigError(f"{path}: is empty; it must hold a mapping of keys to values")
    if not isinstance(data, dict):
        kind = "list" if isinstance(data, list) else "single value"
        raise ConfigError(f"{path}: must hold a mapping of keys to values, not a {kind}")
    return data


def parse_yaml(text: str, source: str) -> Any:
    """The content of a YAML document. `ConfigError` names the `source`, and the line if several."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506  a SafeLoader
    except yaml.reader.ReaderError as error:
        where = f", line {text.count(chr(10), 0, error.position) + 1}" if "\n" in text else ""
        raise ConfigError(
            f"{source}{where}: not valid YAML: U+{error.character:04X} is no character of a text"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}" if mark and "\n" in text else ""
        if isinstance(error, _Refused):
            raise ConfigError(f"{source}{where}: {error.problem}") from None
        raise ConfigError(f"{source}{where}: not valid YAML: {_reason(error)}") from None


def _reason(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "not readable"
    if "\\t" in problem:
        return f"{problem}; indent with spaces, not tabs"
    if problem.startswith("mapping values"):
        return f"{problem}; text with a colon must be in quotes"
    if problem.startswith("could not determine a constructor"):
        return "<< merges a mapping and must be a key; put it in quotes if it is text"
    if problem == "but found another document":
        return "several documents; keep one, without lines of ---"
    return problem


def printable(text: str) -> str:
    """Text for a sentence: shortened, and escaped where a terminal would not show it."""
    short = text if len(text) <= 100 else f"{text[:97]}..."
    return short if short.isprintable() else ascii(short)


def dump_yaml(data: Any) -> str:
    """YAML text of plain data (`amago2.config.plain`), which reads back equal."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False)
