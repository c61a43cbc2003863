"""The data directory: what lies where, the lock that keeps a second bot out, and how much room is left."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import IO

from models.errors import DataDirInUse, DiskFull, SetupError

LOOKS = "look-"  # how the names of folders begin in which profiles are looked at


class DataDir:
    """Paths under one data directory. Nothing is created before `open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.registry_file = path / "registry.sqlite3"
        self.runs = path / "runs"
        self.models = path / "models"
        self.history_file = path / "console-history"
        self._lock_file = path / "lock"
        self._lock: IO[str] | None = None

    def open(self, command: str) -> None:
        """Create the directory and take its lock; DataDirInUse names who has it, SetupError if it can't be written."""
        try:
            for folder in (self.path, self.runs, self.models):
                folder.mkdir(parents=True, exist_ok=True)
            lock = self._lock_file.open("a+")
        except OSError as exc:
            raise SetupError(
                f"The data directory {self.path} can't be written ({exc.strerror}). "
                f"Make it writable, or set [bot] data_dir in config.toml to another."
            ) from exc
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            lock.seek(0)
            holder = lock.read().strip() or "unknown process"
            lock.close()
            raise DataDirInUse(self.path, holder=holder) from exc
        lock.truncate(0)
        lock.write(f"{command}, process {os.getpid()}")
        lock.flush()
        self._lock = lock
        for folder in self.path.glob(f"{LOOKS}*"):  # of a bot that was killed in the middle of one
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Give the lock back."""
        if self._lock:
            self._lock.close()
            self._lock = None

    @property
    def free_mb(self) -> int:
        return shutil.disk_usage(self.path).free >> 20

    def require_room(self, needed_mb: int) -> None:
        """DiskFull if less than that is free."""
        if self.free_mb < needed_mb:
            raise DiskFull(self.path, free_mb=self.free_mb, needed_mb=needed_mb)
