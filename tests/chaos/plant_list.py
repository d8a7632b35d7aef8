"""All plants."""

import os
from pathlib import Path

import torch

from tests.chaos.plants import (
    ALIASES,
    CONFIG,
    DEEP,
    ESCAPES,
    MANIFEST,
    POLICY,
    READ,
    RECORD,
    REPLAY,
    RUNS,
    STATE,
    TENSOR,
    TRAINER,
    Plant,
    first_tokens,
    huge_file,
    make_socket,
    npy_header,
    object_array,
    packed_tokens,
    pickled,
    planted_modules,
    reshape,
    retype,
    safetensors_header,
    special_file,
    with_line,
    with_tensors,
    with_text,
    with_trajectory,
    with_values,
    zstd_bomb,
)  # fmt: skip

CODE = (
    *(Plant(f"pickle in {name}", pickled(name)) for name in (POLICY, TRAINER, STATE, REPLAY)),
    Plant("npy with objects", object_array),
    Plant(
        "YAML tag that runs a command", with_line(CONFIG, "kwargs: {}", f"kwargs: {{a: {RUNS}}}")
    ),
    Plant("YAML that is only a tag", with_text(CONFIG, RUNS)),
    Plant("YAML tag in the checkpoint", with_text("checkpoint/config.yaml", RUNS)),
    Plant(
        "entry point that runs a command", with_line(CONFIG, "tests.amago2.toy:Toy", "os:system")
    ),
    Plant(
        "entry point in a planted module", with_line(CONFIG, "tests.amago2.toy:Toy", "opt_einsum:E")
    ),
    Plant("planted modules", planted_modules, sealed=False),
    Plant("npy header that is code", npy_header(b"{'descr': __import__('os').getcwd()}")),
)
SIZES = (
    Plant("YAML aliases without bound", with_line(CONFIG, "kwargs: {}", f"kwargs:\n{ALIASES}")),
    Plant("YAML that is deep", with_text(CONFIG, "[" * DEEP)),
    Plant("YAML that is deep, closed", with_text(CONFIG, "{a: " * 3000 + "}" * 3000)),
    Plant("YAML with a huge number", with_line(CONFIG, "seed: 0", f"seed: {'9' * 50_000}")),
    Plant("YAML with a huge batch", with_line(CONFIG, "batch_size: 8", "batch_size: 800000000000")),
    Plant("YAML with a huge network", with_line(CONFIG, "width: 16", "width: 1600000000")),
    Plant("YAML with many actors", with_line(CONFIG, "actors: 3", "actors: 3000000000")),
    *(
        Plant(f"deep JSON in {name}", with_text(name, "[" * DEEP + "]" * DEEP))
        for name in (RECORD, MANIFEST, STATE, REPLAY)
    ),
    *(
        Plant(f"huge number in {name}", with_text(name, '{"epoch": ' + "9" * 50_000 + "}"))
        for name in (RECORD, MANIFEST, STATE, REPLAY)
    ),
    Plant("zstd bomb", zstd_bomb),
    Plant("zstd of nothing", packed_tokens(b"")),
    Plant("zstd of garbage", packed_tokens(b"garbage" * 99)),
    Plant("tokens that are not compressed", lambda run, _: first_tokens(run).write_bytes(b"x")),
    Plant("safetensors header of 8 EiB", safetensors_header({}, length=2**63 - 1)),
    Plant("safetensors header beyond the file", safetensors_header({}, length=10**9)),
    Plant("safetensors header that is deep", safetensors_header(b"[" * DEEP)),
    Plant(
        "safetensors with a huge shape",
        safetensors_header({"a": TENSOR | {"shape": [2**40, 2**40]}}),
    ),
    Plant("safetensors that overlap", safetensors_header({"a": TENSOR, "b": TENSOR})),
    Plant("safetensors of no type", safetensors_header({"a": TENSOR | {"dtype": "OBJECT"}})),
    Plant(
        "safetensors with negative places",
        safetensors_header({"a": TENSOR | {"data_offsets": [-16, 0]}}),
    ),
    Plant("empty safetensors", with_text(POLICY, b"")),
    Plant(
        "npy header of a huge shape",
        npy_header(b"{'descr': '<i8', 'fortran_order': False, 'shape': (2000000000000,)}"),
    ),
    Plant(
        "npy header of another type",
        npy_header(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"),
    ),
    Plant("npy header that is deep", npy_header(b"(" * 9000)),
)
SHAPES = (
    Plant(
        "optimizer state of another shape",
        with_tensors(TRAINER, reshape("exp_avg", torch.zeros(1))),
    ),
    Plant(
        "optimizer state of many values",
        with_tensors(TRAINER, reshape("exp_avg_sq", torch.zeros(99, 99))),
    ),
    Plant("optimizer state of another type", with_tensors(TRAINER, retype)),
    Plant("weights of another type", with_tensors(POLICY, retype)),
    Plant("weights of another shape", with_tensors(POLICY, reshape("weight", torch.zeros(1)))),
    Plant("no weights", with_tensors(POLICY, dict.clear)),
    Plant("no optimizer state", with_tensors(TRAINER, dict.clear)),
    Plant("a weight too much", with_tensors(POLICY, lambda t: t.update({"more": torch.zeros(3)}))),
    Plant(
        "weights that are NaN",
        with_tensors(
            POLICY, lambda t: [x.fill_(torch.nan) for x in t.values() if x.is_floating_point()]
        ),
    ),
    *(
        Plant(f"trajectory with {field} {value}", with_trajectory(field, value))
        for field, value in (
            ("start", -1),
            ("start", 2**40),
            ("length", -1),
            ("length", 2**30),
            ("length", 0),
            ("length", 1),
            ("task", -1),
            ("task", 99),
            ("number", -1),
            ("number", 2**62),
        )
    ),
)
VALUES = (
    *(
        Plant(f"epoch {epoch!r}", with_values(STATE, epoch=epoch))
        for epoch in ("../../../../outside/x", -1, 10**30, 1.5, None, True, [1])
    ),
    Plant("updates that are text", with_values(STATE, updates="many")),
    Plant(
        "spaces of a huge shape",
        with_values(STATE, spaces__observations={"o": {"shape": [2**40], "dtype": "float32"}}),
    ),
    Plant(
        "spaces of objects",
        with_values(STATE, spaces__observations={"o": {"shape": [3], "dtype": "O"}}),
    ),
    Plant("no collector", with_values(STATE, collector={})),
    Plant("collector that is text", with_values(STATE, collector="x")),
    *(
        Plant(f"replay with {key} {value!r}", with_values(REPLAY, **{key: value}))
        for key, value in (
            ("shard", 10**12),
            ("shard", -1),
            ("shard", "../x"),
            ("oldest_shard", -5),
            ("oldest_shard", None),
            ("evicted", 10**18),
            ("total", -3),
            ("tasks", [[]]),
            ("tasks", ["[red]", ESCAPES, "\ud800"]),
            ("tasks", {}),
        )
    ),
    *(
        Plant(f"{text[:9]!r} in {name}", with_text(name, text))
        for name in (RECORD, MANIFEST, STATE, REPLAY)
        for text in (
            "",
            "[]",
            "{}",
            "null",
            '{"a": NaN}',
            "\ufeff{}",
            b"\xff\xfe{\0}\0",
            '{"checkpoint_sha256": 5}',
        )
    ),
    *(
        Plant(f"{text[:9]!r} in {CONFIG}", with_text(CONFIG, text))
        for text in ("", "[]", "~", "a: [", "\0", b"\xff\xfe", "? {a: 1}\n: 2", "&a [*a]")
    ),
    Plant("escapes in the record", with_values(RECORD, git_commit=ESCAPES)),
    Plant(
        "markup in the record", with_values(RECORD, cpu="[/b]", device="[link=file:///etc]x[/link]")
    ),
    Plant("lone surrogate in the record", with_values(RECORD, cpu="\ud800")),
    Plant(
        "text for numbers in the record", with_values(RECORD, wall_s="a", env_steps=[], updates={})
    ),
    Plant("infinite time in the record", with_values(RECORD, wall_s=float("inf"))),
    Plant(
        "no digests in the record",
        with_values(RECORD, checkpoint_sha256={}, replay_sha256={}),
        sealed=False,
    ),
    *(
        Plant(f"digest of {name}", with_values(file, **{key: {name: "0" * 64}}), sealed=False)
        for name in ("../../outside/secret", "/etc/passwd", ".", "", "a/../../b")
        for file, key in ((RECORD, "checkpoint_sha256"), (RECORD, "files_sha256"))
    ),
    Plant("manifest with a path", with_values(MANIFEST, **{"../../../outside/secret": "0" * 64})),
    Plant("manifest with the root", with_values(MANIFEST, **{"/etc/passwd": "0" * 64})),
)


def _link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "secret")


SPECIAL = tuple(
    Plant(f"{what} in place of {name}", special_file(name, make), sealed=False)
    for name in (*READ, "metrics.csv", "evaluations.csv", "replay/trajectories-*.npy")
    for what, make in (
        ("named pipe", lambda path, _: os.mkfifo(path)),
        ("link to outside", _link),
        ("link to /dev/zero", lambda path, _: path.symlink_to("/dev/zero")),
        ("link to itself", lambda path, _: path.symlink_to(path.name)),
        ("folder", lambda path, _: path.mkdir()),
        ("socket", make_socket),
        ("file of 1 TiB", huge_file),
    )
)
PLANTS = (*CODE, *SIZES, *SHAPES, *VALUES, *SPECIAL)
