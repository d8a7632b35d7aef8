import errno
import os
import socket
from pathlib import Path

import pytest

from amago2.errors import ConfigError
from amago2.files import open_regular, write_together


def test_a_regular_file_and_a_link_to_one_are_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open_regular(tmp_path / name, limit=7) as file:
            assert file.read() == b"content"


def test_special_files_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    kinds = {"pipe": "a named pipe", "link": "a named pipe", ".": "a folder"}
    kinds["/dev/zero"] = "a device"
    for name, kind in kinds.items():
        with pytest.raises(ConfigError, match=rf"{name}: is {kind}; it must be a regular file"):
            open_regular(f"{tmp_path}/{name}" if name != "/dev/zero" else name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="socket"):
            open_regular(tmp_path / "socket")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 1 << 40)
    with pytest.raises(ConfigError, match=r"large: has 1,099,511,627,776 bytes; .* at most 1,000"):
        open_regular(tmp_path / "large", limit=1000)


@pytest.mark.parametrize("full_at", range(3))
def test_a_full_disk_leaves_all_files_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_at: int
) -> None:
    contents = {tmp_path / name: f"new {name}" for name in "abc"}
    for path in contents:
        path.write_text("old")
    written, write = [], Path.write_bytes

    def fill(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) > full_at:
            write(path, data[:2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fill)
        with pytest.raises(OSError, match="No space left"):
            write_together(contents)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        "abc", "old"
    )
    write_together(contents)
    assert {path: path.read_text() for path in tmp_path.iterdir()} == contents


def test_a_folder_in_the_place_of_a_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(IsADirectoryError):
        write_together({tmp_path / "a": "new", tmp_path / "b": "new"})
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
