"""Ways in which a file may be damaged."""

import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

Damage = Callable[[Path, Sequence[Path], random.Random], None]


def flip_a_bit(path: Path, others: Sequence[Path], chance: random.Random) -> None:
    """One bit of the file is the other one."""
    content = bytearray(path.read_bytes())
    if content:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    _put(path, bytes(content))


def change_a_digit(path: Path, others: Sequence[Path], chance: random.Random) -> None:
    """A digit becomes another one, so that the file can still be read; else as `flip_a_bit`."""
    content = bytearray(path.read_bytes())
    digits = [i for i, byte in enumerate(content) if byte in b"0123456789"]
    if not digits or b"\0" in content:
        return flip_a_bit(path, others, chance)
    place = chance.choice(digits)
    content[place] = chance.choice([d for d in b"0123456789" if d != content[place]])
    _put(path, bytes(content))


def cut_off(path: Path, others: Sequence[Path], chance: random.Random) -> None:
    """The end is missing."""
    content = path.read_bytes()
    _put(path, content[: chance.randrange(max(1, len(content)))])


def cut_a_line(path: Path, others: Sequence[Path], chance: random.Random) -> None:
    """A whole line (or, of binary files, what lies between two of those bytes) is missing."""
    lines = path.read_bytes().splitlines(keepends=True)
    if lines:
        del lines[chance.randrange(len(lines))]
    _put(path, b"".join(lines))


def zero(path: Path, others: Sequence[Path], chance: random.Random) -> None:
    """Zeros from some place on, as power cuts leave them."""
    content = path.read_bytes()
    kept = chance.randrange(max(1, len(content)))
    _put(path, content[:kept] + bytes(len(content) - kept))


def empty(path: Path, others: Sequence[Path], chance: random.Random) -> None:
    """Nothing is left in the file."""
    _put(path, b"")


def remove(path: Path, others: Sequence[Path], chance: random.Random) -> None:
    """The file is gone."""
    path.unlink()


def swap(path: Path, others: Sequence[Path], chance: random.Random) -> None:
    """Another file's content, of the same kind if there is one, and the other way round."""
    alike = [each for each in others if each != path and each.suffix == path.suffix]
    other = chance.choice(alike or [each for each in others if each != path])
    mine, theirs = path.read_bytes(), other.read_bytes()
    _put(path, theirs)
    _put(other, mine)


def add_to_the_end(path: Path, others: Sequence[Path], chance: random.Random) -> None:
    """Something was appended: garbage, or the end of the file once more."""
    content = path.read_bytes()
    more = content[-chance.randint(1, 40) :] if chance.random() < 0.5 else chance.randbytes(9)
    _put(path, content + more)


def make_a_folder(path: Path, others: Sequence[Path], chance: random.Random) -> None:
    """A folder has the file's name."""
    path.unlink()
    path.mkdir()


def remove_the_folder(path: Path, others: Sequence[Path], chance: random.Random) -> None:
    """The folder around the file is gone, with all that is in it."""
    shutil.rmtree(path.parent)


def _put(path: Path, content: bytes) -> None:
    """Write a file as a whole, so that other names of the same file keep its content."""
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(10**18, 10**18))  # times tell nothing


DAMAGES: tuple[Damage, ...] = (
    flip_a_bit, flip_a_bit, change_a_digit, cut_off, cut_a_line, zero, empty, remove, swap,
    add_to_the_end, make_a_folder, remove_the_folder,
)  # fmt: skip
