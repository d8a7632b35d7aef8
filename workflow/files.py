"""Writing results: whole or not at all."""

from pathlib import Path

from amago2.files import atomic


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace the file's content in one step; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
