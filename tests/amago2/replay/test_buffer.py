import gc
import os
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from amago2.env.spaces import ActionSpec, Array
from amago2.errors import RunError
from amago2.replay.batches import make_batch
from amago2.replay.buffer import Replay
from amago2.replay.shards import record_type

BOXES = {"o": gym.spaces.Box(-9, 9, (2,), np.float32)}
SPEC = ActionSpec("discrete", 3)
RECORD = record_type(BOXES, SPEC)


def trajectory(number: int, length: int) -> Array:
    tokens = np.zeros(length + 1, RECORD)
    tokens["time"] = np.arange(length + 1)
    tokens["reward"] = number
    tokens["observation.o"] = tokens["time"][:, None] + 100.0 * number
    tokens["action"] = number % 3
    return tokens


def filled(folder: Path, count: int, capacity: int = 10**6, unit: str = "timesteps") -> Replay:
    replay = Replay(folder, RECORD, capacity, unit, shard_size=50)
    for number in range(count):
        replay.add(trajectory(number, 5 + number % 7), f"task{number % 2}")
    return replay


def sample(
    replay: Replay, seed: int = 0, batch: int = 200, context: int = 6
) -> tuple[Array, Array]:
    return replay.sample(np.random.default_rng(seed), batch, context)


def test_samples_are_contiguous_pieces_of_one_trajectory(tmp_path: Path) -> None:
    replay = filled(tmp_path, 40)
    records, lengths = sample(replay, batch=400)
    starts = set()
    for row, length in zip(records, lengths, strict=True):
        number = int(row["reward"][0])
        whole = trajectory(number, 5 + number % 7)
        start = int(row["time"][0])
        starts.add(start)
        assert np.array_equal(row[:length], whole[start : start + length])
        assert length == min(len(whole), 7)
        assert not row[length:].view("u1").any()
    assert starts == {0, 1, 2, 3, 4, 5}  # every position, the last ones included
    assert len({int(r["reward"][0]) for r in records}) == 40


def test_capacity_counts_timesteps_or_trajectories(tmp_path: Path) -> None:
    by_steps = filled(tmp_path / "a", 40, capacity=60)
    assert 60 - 11 <= by_steps.timesteps <= 60
    by_number = filled(tmp_path / "b", 40, capacity=9, unit="trajectories")
    assert len(by_number) == 9
    records, _ = sample(by_number)
    assert {int(r["reward"][0]) for r in records} == set(range(31, 40))
    assert by_number.timesteps == sum(5 + n % 7 for n in range(31, 40))


def test_shares_by_task_sum_to_one(tmp_path: Path) -> None:
    shares = filled(tmp_path, 4).task_shares()
    assert shares == {"task0": (5 + 7) / 26, "task1": (6 + 8) / 26}


def test_full_shards_never_change(tmp_path: Path) -> None:
    replay = filled(tmp_path, 20)
    first = (tmp_path / "tokens-00000.npy").read_bytes()
    for number in range(20, 60):
        replay.add(trajectory(number, 9), "task0")
    assert (tmp_path / "tokens-00000.npy").read_bytes() == first
    assert len(list(tmp_path.glob("tokens-*.npy"))) > 5


@pytest.mark.parametrize("capacity", [40, 10**6])
def test_saved_and_loaded_it_goes_on_to_the_same_bits(tmp_path: Path, capacity: int) -> None:
    one = filled(tmp_path / "one", 25, capacity)
    one.save(tmp_path / "one")
    other = Replay(tmp_path / "one", RECORD, capacity, "timesteps", shard_size=50)
    other.load(tmp_path / "one")
    for number in range(25, 60):
        for replay in (one, other):
            replay.add(trajectory(number, 8), "task2")
        assert len(one) == len(other)
        assert one.timesteps == other.timesteps
        for a, b in zip(sample(one, number), sample(other, number), strict=True):
            assert np.array_equal(a, b)
    assert one.task_shares() == other.task_shares()


def test_a_trajectory_longer_than_a_shard(tmp_path: Path) -> None:
    replay = Replay(tmp_path, RECORD, 10**6, "timesteps", shard_size=10)
    replay.add(trajectory(1, 35), "task")
    replay.add(trajectory(2, 3), "task")
    records, _ = sample(replay, context=40)
    whole = {int(r["reward"][0]): r for r in records}
    assert np.array_equal(whole[1][:36], trajectory(1, 35))


def test_other_spaces_are_refused(tmp_path: Path) -> None:
    replay = filled(tmp_path, 3)
    replay.save(tmp_path)
    other = Replay(tmp_path, record_type(BOXES, ActionSpec("multibinary", 4)), 9, "timesteps", 9)
    with pytest.raises(RunError, match="not a shard of 21 records of these observation and action"):
        other.load(tmp_path)


def test_batches_mark_padding_and_the_first_action() -> None:
    records, lengths = np.zeros((2, 7), RECORD), np.array([3, 5])
    for row, length in zip(records, lengths, strict=True):
        row[:length] = trajectory(1, length - 1)
        row["action"][0] = -1
    batch = make_batch(records, lengths, SPEC)
    assert batch.valid.tolist() == [[True, True, True, False, False], [True] * 5]
    assert batch.action[0, :3].tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert batch.reward.shape == (2, 5)  # the longest, not the room that there was
    assert batch.observation["o"].shape == (2, 5, 2)


def test_saving_waits_for_full_shards_to_reach_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    monkeypatch.setattr("amago2.replay.buffer.sync", lambda path: flushed.append(path.name))
    replay = filled(tmp_path, 40)
    full = {path.name for path in tmp_path.glob("*-*.npy")}
    assert len(full) > 5
    assert not flushed
    (tmp_path / "kept").mkdir()
    replay.save(tmp_path / "kept")
    assert full <= set(flushed)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_few_files_are_open_whatever_the_number_of_shards(tmp_path: Path) -> None:
    before = open_files()
    replay = Replay(tmp_path, RECORD, 10**6, "timesteps", shard_size=1)
    for number in range(400):
        replay.add(trajectory(number, 6), "task")
    records, _ = sample(replay, batch=2000)
    assert len({int(r["reward"][0]) for r in records}) > 380
    for row in records:
        assert np.array_equal(row, trajectory(int(row["reward"][0]), 6))
    assert open_files() - before <= 64
    del replay
    gc.collect()
    assert open_files() <= before


def test_a_shard_that_another_program_cut_is_a_sentence(tmp_path: Path) -> None:
    replay = filled(tmp_path, 30)
    os.truncate(tmp_path / "tokens-00000.npy", 300)
    with pytest.raises(RunError, match=r"tokens-00000\.npy: another program has cut it"):
        sample(replay)
