"""The data directory: one Mockingbird at a time, and only where there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.datadir import DataDir
from models.errors import DataDirInUse, DiskFull, SetupError, UserError

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from bot.datadir import DataDir
data = DataDir(Path(sys.argv[1]))
data.open("console")
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "var"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the directory open."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_nothing_is_created_before_open(path: Path) -> None:
    data = DataDir(path)
    assert not path.exists()
    data.open("run")
    assert data.runs.is_dir() and data.models.is_dir()
    data.close()


def test_second_open_names_command_and_process_of_the_first(path: Path) -> None:
    first, second = DataDir(path), DataDir(path)
    first.open("run")
    with pytest.raises(DataDirInUse) as caught:
        second.open("console")
    assert caught.value.holder == f"run, process {os.getpid()}"
    assert caught.value.holder in str(caught.value) and str(path) in str(caught.value)
    first.close()


def test_closed_directory_can_be_opened_again_by_another_command(path: Path) -> None:
    first, second, third = DataDir(path), DataDir(path), DataDir(path)
    first.open("a-rather-long-command")
    first.close()
    second.open("run")
    with pytest.raises(DataDirInUse) as caught:
        third.open("console")
    assert caught.value.holder == f"run, process {os.getpid()}"  # nothing of the earlier holder is left
    second.close()


def test_other_process_is_named(path: Path, holder: subprocess.Popen[bytes]) -> None:
    with pytest.raises(DataDirInUse, match=f"console, process {holder.pid}"):
        DataDir(path).open("run")


def test_lock_of_a_killed_process_is_free(path: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.wait()
    data = DataDir(path)
    data.open("run")
    data.close()


@pytest.mark.parametrize("blocked", ["var", "var/runs", "var/lock"])
def test_what_stands_in_the_way_is_a_setup_error(tmp_path: Path, blocked: str) -> None:
    obstacle = tmp_path / blocked
    obstacle.parent.mkdir(parents=True, exist_ok=True)
    if blocked == "var/lock":
        obstacle.mkdir()
    else:
        obstacle.write_text("a file")
    with pytest.raises(SetupError, match=r"data_dir in config\.toml") as caught:
        DataDir(tmp_path / "var").open("run")
    assert str(tmp_path / "var") in str(caught.value)


def test_too_little_room_is_told_with_both_figures(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = DataDir(path)
    data.open("run")
    data.close()
    usage = shutil.disk_usage(path)._replace(free=1234 << 20)
    monkeypatch.setattr("bot.datadir.shutil.disk_usage", lambda _: usage)
    data.require_room(1234)
    with pytest.raises(DiskFull) as caught:
        data.require_room(1235)
    assert (caught.value.free_mb, caught.value.needed_mb) == (1234, 1235)
    assert "1,234 MB are free" in str(caught.value) and "1,235 MB are needed" in str(caught.value)
    assert isinstance(caught.value, UserError)
