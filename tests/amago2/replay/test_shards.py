"""The files of replay: records, durability, what publishing writes and unpacking reads back."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from amago2.env.spaces import ActionSpec, Array
from amago2.errors import RunError
from amago2.files import atomic
from amago2.replay.batches import make_batch
from amago2.replay.buffer import Replay
from amago2.replay.shards import record_type
from amago2.replay.stored import unpack

BOXES: dict[str, gym.spaces.Box] = {
    "image": gym.spaces.Box(0, 255, (2, 3, 1), np.uint8),
    "vector": gym.spaces.Box(-1, 1, (4,), np.dtype(">f4")),
}
SPEC = ActionSpec("discrete", 3)
RECORD = record_type(BOXES, SPEC)


def trajectory(number: int, length: int) -> Array:
    tokens = np.zeros(length + 1, RECORD)
    tokens["time"] = np.arange(length + 1)
    tokens["reward"] = number
    tokens["observation.vector"] = number / 64
    tokens["terminated"][-1] = number % 2
    return tokens


def empty(
    folder: Path, capacity: int = 10**6, shard_size: int = 30, unit: str = "timesteps"
) -> Replay:
    return Replay(folder, RECORD, capacity, unit, shard_size)


def filled(folder: Path, count: int, capacity: int = 10**6) -> Replay:
    replay = empty(folder, capacity)
    for number in range(count):
        replay.add(trajectory(number, 9), f"task{number % 2}")
    return replay


def drawn(replay: Replay) -> list[bytes]:
    return [part.tobytes() for part in replay.sample(np.random.default_rng(0), 64, 6)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_record_is_what_is_known_before_acting_in_little_endian() -> None:
    record = record_type(BOXES, SPEC)  # RECORD is made before any test runs
    assert record.names == (
        "observation.image", "observation.vector", "action", "reward", "terminated", "time",
    )  # fmt: skip
    assert record["observation.image"] == np.dtype(("u1", (2, 3, 1)))
    assert record["observation.vector"] == np.dtype(("<f4", (4,)))
    assert [record[name].str for name in ("reward", "terminated", "time")] == ["<f4", "|b1", "<i4"]
    assert record["action"] == SPEC.stored


def test_a_batch_holds_every_field() -> None:
    records = np.stack([trajectory(1, 4), trajectory(2, 4)])
    batch = make_batch(records, np.array([5, 3]), SPEC)
    assert batch.observation.keys() == {"image", "vector"}
    assert batch.terminated.tolist() == [[False] * 4 + [True], [False] * 5]
    assert batch.time.tolist() == [[0, 1, 2, 3, 4]] * 2
    assert batch.time.dtype == torch.int64
    assert batch.valid.tolist() == [[True] * 5, [True] * 3 + [False] * 2]


def test_the_index_of_live_trajectories_grows_and_forgets(tmp_path: Path) -> None:
    replay = empty(tmp_path, capacity=1500, unit="trajectories", shard_size=1000)
    for number in range(4000):
        replay.add(trajectory(number, 1 + number % 3), f"task{number % 2}")
    live = range(2500, 4000)
    assert len(replay) == 1500
    assert replay.timesteps == sum(1 + number % 3 for number in live)
    records, _ = replay.sample(np.random.default_rng(0), 12000, 3)
    assert records.shape == (12000, 4)
    seen = {int(reward) for reward in records["reward"][:, 0]}
    assert seen <= set(live)
    assert len(seen) > 1450
    of_first = sum(1 + number % 3 for number in live if number % 2 == 0)
    assert replay.task_shares()["task0"] == pytest.approx(of_first / replay.timesteps, abs=1e-12)


def test_capacity_may_be_reached_and_a_single_trajectory_may_exceed_it(tmp_path: Path) -> None:
    replay = empty(tmp_path, capacity=18)
    replay.add(trajectory(0, 9), "a")
    replay.add(trajectory(1, 9), "a")
    assert len(replay) == 2  # exactly full
    replay.add(trajectory(2, 1), "b")
    assert (len(replay), replay.timesteps) == (2, 10)
    replay.add(trajectory(3, 40), "b")
    assert (len(replay), replay.timesteps) == (1, 40)
    replay.add(trajectory(4, 1), "b")
    assert (len(replay), replay.timesteps) == (1, 1)
    assert replay.task_shares() == {"a": 0.0, "b": 1.0}


def test_no_live_trajectory_is_no_share(tmp_path: Path) -> None:
    replay = empty(tmp_path)
    replay.tasks = ["a"]
    assert (len(replay), replay.task_shares()) == (0, {"a": 0.0})


def test_a_shard_is_closed_as_soon_as_it_is_full(tmp_path: Path) -> None:
    replay = filled(tmp_path / "not" / "there", 2)
    assert names(replay.folder) == []  # 20 of 30 tokens
    replay.add(trajectory(2, 9), "task0")
    assert names(replay.folder) == ["tokens-00000.npy", "trajectories-00000.npy"]
    rows = np.load(replay.folder / "trajectories-00000.npy")
    assert rows.tolist() == [(0, 0, 10, 0), (1, 10, 10, 1), (2, 20, 10, 0)]


def test_a_shard_is_closed_at_the_most_bytes_that_it_may_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amago2.replay.buffer.MAX_SHARD_BYTES", 20 * RECORD.itemsize + 1)
    filled(tmp_path, 2)
    assert len(np.load(tmp_path / "tokens-00000.npy")) == 20
    monkeypatch.setattr("amago2.replay.buffer.MAX_SHARD_BYTES", 1)  # less than one record
    assert empty(tmp_path).shard_tokens == 1


def test_only_checkpoints_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, bool]] = []

    def noted(path: Path, durable: bool = True):  # type: ignore[no-untyped-def]
        asked.append((f"{path.parent.name}/{path.name}", durable))
        return atomic(path, durable)

    monkeypatch.setattr("amago2.replay.shards.atomic", noted)
    replay = filled(tmp_path / "own", 4)
    (tmp_path / "kept").mkdir()
    replay.save(tmp_path / "kept")
    assert asked == [
        ("own/tokens-00000.npy", False),
        ("own/trajectories-00000.npy", False),
        ("kept/tokens-00001.npy", True),
        ("kept/trajectories-00001.npy", True),
    ]


def test_a_checkpoint_has_the_open_shard_and_the_replays_folder_the_others(tmp_path: Path) -> None:
    replay = filled(tmp_path / "own", 20, capacity=90)
    (tmp_path / "kept").mkdir()
    replay.save(tmp_path / "kept")
    assert names(tmp_path / "kept") == [
        "replay.json", "tokens-00006.npy", "trajectories-00006.npy",
    ]  # fmt: skip
    replay.discard_shards(replay.oldest_shard)  # loading needs none of those before
    assert names(replay.folder)[0] == "tokens-00003.npy"
    other = empty(tmp_path / "own", capacity=90)
    other.load(tmp_path / "kept")
    assert (len(other), other.timesteps) == (10, 90)
    assert drawn(other) == drawn(replay)
    assert other.task_shares() == replay.task_shares() == {"task0": 0.5, "task1": 0.5}


def test_shards_below_the_oldest_are_discarded_and_no_other_file(tmp_path: Path) -> None:
    replay = filled(tmp_path, 9)
    (tmp_path / "other.npy").touch()
    replay.discard_shards(1)
    assert names(tmp_path) == [
        "other.npy",
        *(f"{name}-0000{k}.npy" for name in ("tokens", "trajectories") for k in (1, 2)),
    ]


@pytest.mark.parametrize("capacity", [10**6, 63])
def test_what_is_published_is_unpacked_as_it_was_saved(tmp_path: Path, capacity: int) -> None:
    replay = filled(tmp_path / "own", 11, capacity)
    oldest = replay.oldest_shard
    published, full, last = (tmp_path / name for name in ("published", "full", "last"))
    for folder in (published, full, last):
        folder.mkdir()
    replay.publish(published)
    numbers = range(oldest, 4)
    assert names(published) == sorted(
        ["replay.json"]
        + [f"tokens-0000{k}.npy.zst" for k in numbers]
        + [f"trajectories-0000{k}.npy" for k in numbers]
    )
    unpack(published, full, last, RECORD, SPEC)
    assert names(last) == ["replay.json", "tokens-00003.npy", "trajectories-00003.npy"]
    for path in full.iterdir():
        assert path.read_bytes() == (replay.folder / path.name).read_bytes()
    assert len(names(full)) == 2 * (3 - oldest)
    other = empty(full, capacity)
    other.load(last)
    assert drawn(other) == drawn(replay)
    # What is published is copied, not moved: the replay's own shards stay as they were.
    assert len(names(replay.folder)) == 6


def test_published_bytes_are_the_same_each_time_and_damage_is_noticed(tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        filled(tmp_path / f"own-{name}", 7).publish(tmp_path / name)
        contents.append({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()})
    assert contents[0] == contents[1]
    damaged = tmp_path / "a" / "tokens-00001.npy.zst"
    damaged.write_bytes(b"no frame" + damaged.read_bytes())
    for name in ("full", "last"):
        (tmp_path / name).mkdir()
    with pytest.raises(RunError, match=r"00001\.npy\.zst: is damaged"):
        unpack(tmp_path / "a", tmp_path / "full", tmp_path / "last", RECORD, SPEC)
