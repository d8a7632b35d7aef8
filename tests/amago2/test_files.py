import os
import socket
from pathlib import Path

import pytest

from amago2.errors import ConfigError
from amago2.files import open_regular


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
