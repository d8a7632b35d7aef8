"""TensorBoard reads what is written for it."""

import errno
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from amago2.training.logs import TensorBoard


def test_scalars_read_back_whole_after_each_write(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path / "tensorboard")
    board.scalars(3, {"loss": 1.5, "door[red]\x1b": 1.0})
    board.scalars(4, {"loss": 2.5})
    events: EventAccumulator = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(3, 1.5), (4, 2.5)]
    assert events.Tags()["scalars"] == ["loss", r"door[red]\x1b"]


def test_an_error_of_the_disk_names_the_file(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path / "tensorboard")
    board.path = Path("/dev/full")
    with pytest.raises(OSError, match="/dev/full") as raised:
        board.scalars(3, {"loss": 1.5})
    assert raised.value.errno == errno.ENOSPC
