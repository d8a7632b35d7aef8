"""What a stranger may put into a run's folder: each plant changes one thing of a finished run.

A plant is given the run's folder and the folder `outside`, of which no file may change. Code that
is run leaves a file there.
"""

import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zstandard
from safetensors.torch import load_file, save_file

from amago2 import run_record
from amago2.files import sha256

Change = Callable[[Path, Path], object]
POLICY, TRAINER = "checkpoint/policy.safetensors", "checkpoint/trainer.safetensors"
STATE, MANIFEST, RECORD = "checkpoint/state.json", "checkpoint/manifest.json", "record.json"
REPLAY, CONFIG = "replay/replay.json", "config.yaml"
READ = (CONFIG, RECORD, MANIFEST, STATE, POLICY, TRAINER, REPLAY, "checkpoint/config.yaml")
"""Files that most readers open."""


@dataclass(frozen=True)
class Plant:
    """One kind of hostile content; `sealed`: all digests are made to fit it."""

    name: str
    change: Change
    sealed: bool = True


class Payload:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, outside: Path) -> None:
        self.outside = outside

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.outside}/EXECUTED",)


def seal(run: Path) -> None:
    """Make every digest of a run fit its files, as its author could."""
    manifest = run / MANIFEST
    if manifest.is_file():
        names = sorted(path.name for path in (run / "checkpoint").iterdir() if path.is_file())
        sums = {name: sha256(run / "checkpoint" / name) for name in names if name != manifest.name}
        old = json.loads(manifest.read_text())
        manifest.write_text(json.dumps(old | sums))
    record = json.loads((run / RECORD).read_text())
    (run / RECORD).write_text(run_record.seal(record | run_record.digests(run)))


def with_values(name: str, **values: Any) -> Change:
    """Values of keys of a JSON file; a dotted key is one of a mapping within."""

    def change(run: Path, outside: Path) -> None:
        content = json.loads((run / name).read_text())
        for key, value in values.items():
            *path, last = key.split("__")
            inner = content
            for part in path:
                inner = inner[part]
            inner[last] = value(outside) if callable(value) else value
        (run / name).write_text(json.dumps(content))

    return change


def with_text(name: str, text: str | bytes) -> Change:
    def change(run: Path, outside: Path) -> None:
        content = text if isinstance(text, bytes) else text.encode()
        (run / name).write_bytes(content.replace(b"OUTSIDE", bytes(outside)))

    return change


def with_line(name: str, old: str, new: str) -> Change:
    def change(run: Path, outside: Path) -> None:
        text = (run / name).read_text()
        assert old in text, f"{name} has no {old}"
        (run / name).write_text(text.replace(old, new.replace("OUTSIDE", str(outside)), 1))

    return change


def pickled(name: str) -> Change:
    return lambda run, outside: torch.save(Payload(outside), run / name)


def object_array(run: Path, outside: Path) -> None:
    path = sorted((run / "replay").glob("trajectories-*.npy"))[0]
    np.save(path, np.array([Payload(outside)], object), allow_pickle=True)


def with_trajectory(field: str, value: int) -> Change:
    def change(run: Path, outside: Path) -> None:
        path = sorted((run / "replay").glob("trajectories-*.npy"))[0]
        rows = np.load(path)
        rows[field][0] = value
        np.save(path, rows)

    return change


def npy_header(header: bytes) -> Change:
    """A shard whose header claims something else than what follows."""

    def change(run: Path, outside: Path) -> None:
        padded = header + b" " * (-(len(header) + 11) % 64) + b"\n"
        start = b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little")
        path = sorted((run / "replay").glob("trajectories-*.npy"))[0]
        path.write_bytes(start + padded + b"\0" * 64)

    return change


def zstd_bomb(run: Path, outside: Path) -> None:
    packer = zstandard.ZstdCompressor(19).compressobj()
    bomb = b"".join(packer.compress(bytes(2**26)) for _ in range(64)) + packer.flush()
    sorted((run / "replay").glob("*.zst"))[0].write_bytes(bomb)


def packed_tokens(content: bytes) -> Change:
    return lambda run, outside: first_tokens(run).write_bytes(zstandard.compress(content))


def first_tokens(run: Path) -> Path:
    return sorted((run / "replay").glob("*.zst"))[0]


def with_tensors(name: str, alter: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def change(run: Path, outside: Path) -> None:
        tensors = load_file(run / name)
        alter(tensors)
        save_file(tensors, run / name)

    return change


def reshape(end: str, tensor: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], None]:
    def alter(tensors: dict[str, torch.Tensor]) -> None:
        name = next(name for name in sorted(tensors) if name.endswith(end))
        tensors[name] = tensor

    return alter


def retype(tensors: dict[str, torch.Tensor]) -> None:
    tensors.update({name: tensor.to(torch.int8) for name, tensor in tensors.items()})


def safetensors_header(header: Any, body: bytes = b"\0" * 64, length: int | None = None) -> Change:
    def change(run: Path, outside: Path) -> None:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        size = len(text) if length is None else length
        (run / POLICY).write_bytes(size.to_bytes(8, "little") + text + body)

    return change


def special_file(name: str, make: Callable[[Path, Path], object]) -> Change:
    def change(run: Path, outside: Path) -> None:
        path = sorted(run.glob(name))[0]
        path.unlink()
        make(path, outside)

    return change


def make_socket(path: Path, outside: Path) -> None:
    there = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{there}/{path.name}")  # its name may be too long otherwise
    os.close(there)


def huge_file(path: Path, outside: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


def planted_modules(run: Path, outside: Path) -> None:
    """Modules that libraries import if they find them, in the folder and beside it."""
    for name in ("opt_einsum", "yaml", "triton", "tensorflow", "numpy", "sitecustomize", "envs"):
        for folder in (run, run.parent):
            (folder / f"{name}.py").write_text(f"open({str(outside / 'EXECUTED')!r}, 'w')\n")


TENSOR = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
ALIASES = "\n".join(
    ["    a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    + [f"    a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
)
RUNS = "!!python/object/apply:os.system ['touch OUTSIDE/EXECUTED']"
ESCAPES = "\x1b]0;title\x07\x1b[2J[/b][red]<script>alert(1)</script>"
DEEP = 100_000
