"""What the benchmarks of the Discord front share: a furnished data directory, the bot's process, what /proc says."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from bot.config import Config
from bot.datadir import DataDir
from bot.records import CONSOLE, JobState
from bot.service import open_service
from tests.fakes.discord_server import FakeDiscord

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")


def write_config(config: Config, path: Path) -> Path:
    """The configuration as a file."""
    lines = []
    for name, table in msgspec.to_builtins(config).items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items() if value != {}]
    path.write_text("\n".join(lines) + "\n")
    return path


async def furnish(config: Config, posts: Path, handle: str) -> None:
    """Train a model of the house, which everybody may use, before the bot runs."""
    async with open_service(config, DataDir(config.data_dir), "benchmark") as service:
        job = await service.start(
            CONSOLE, await service.plan(CONSOLE, handles=[handle], files=[posts], ground="public_domain")
        )
        async for view in service.watch(job.id):
            job = view.job
    if job.state != JobState.DONE:
        raise SystemExit(f"the training failed: {job.error}")


def crowd_the_shelf(config: Config, server_id: int, *, models: int) -> list[str]:
    """As many more models of a server, all with the files of the first one, so that lists have pages; their names."""
    data = DataDir(config.data_dir)
    now = (datetime.now(UTC) - timedelta(days=2)).isoformat(timespec="seconds")  # of no account for today's limits
    names = [f"voice{number:02}" for number in range(models)]
    with sqlite3.connect(data.registry_file) as registry:
        home, posts, bits = registry.execute(
            "SELECT m.folder, v.posts, v.bits_per_byte FROM models m JOIN versions v ON v.model_id = m.id"
        ).fetchone()
        for name in names:
            job = registry.execute(
                "INSERT INTO jobs (server_id, user_id, announced, model, handles, state, version, created_at, ended_at)"
                " VALUES (?, 0, 1, ?, ?, 'done', 1, ?, ?)",
                (server_id, name, json.dumps([name]), now, now),
            )
            model = registry.execute(
                "INSERT INTO models (server_id, name, handles, folder, created_at) VALUES (?, ?, ?, ?, ?)",
                (server_id, name, json.dumps([name]), name, now),
            )
            registry.execute(
                "INSERT INTO versions (model_id, number, job_id, posts, bits_per_byte, created_at) "
                "VALUES (?, 1, ?, ?, ?, ?)",
                (model.lastrowid, job.lastrowid, posts, bits, now),
            )
            (data.models / name).mkdir()
            for path in (data.models / home / "1").rglob("*"):
                target = data.models / name / "1" / path.relative_to(data.models / home / "1")
                target.parent.mkdir(parents=True, exist_ok=True)
                if path.is_file():
                    os.link(path, target)
    return names


class Bot:
    """The bot's process; it is started, told to stop or killed, and started again."""

    def __init__(self, fake: FakeDiscord, config_file: Path) -> None:
        self._fake = fake
        self._config_file = config_file
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        assert self._process
        return self._process.returncode

    async def start(self) -> float:
        """Start it and wait until it is logged in; how many seconds that took."""
        before, started = self._fake.identify_count, time.monotonic()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "bot", "--config", str(self._config_file), "run"),
            cwd=ROOT,
            env={
                **os.environ,
                "DISCORD_TOKEN": self._fake.token,
                "MOCKINGBIRD_DISCORD_API": f"{self._fake.url}/api/v10",
            },
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await self._fake.wait_for(lambda: self._fake.identify_count > before or self.exit_code is not None, 60)
        if self.exit_code is not None:
            raise SystemExit(f"the bot ended at once, with {self.exit_code}")
        await self._fake.wait_ready(30)
        return time.monotonic() - started

    async def kill(self) -> None:
        assert self._process
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        """Tell it to stop; its exit code."""
        assert self._process
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), 60)
            except TimeoutError:
                await self.kill()
        assert self._process.returncode is not None
        return self._process.returncode

    def children(self) -> dict[int, str]:
        """The engine and the trainers that it has now: by process id, "engine" or "trainer"."""
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                command = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:  # it has just ended
                continue
            if parent == self.pid:
                found[int(folder.name)] = "engine" if b"models.engine" in command else "trainer"
        return found


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the kernel says of a process: CPU seconds of it, and the waiting of its main thread for a CPU."""

    cpu_s: float
    main_run_s: float
    main_wait_s: float
    rss_mb: float

    @classmethod
    def of(cls, pid: int) -> Reading:
        """All 0 for a process that is gone."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            run, wait, _ = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return cls(cpu_s=0, main_run_s=0, main_wait_s=0, rss_mb=0)
        rss = int(status.partition("VmRSS:")[2].split()[0]) if "VmRSS:" in status else 0
        cpu_s = (int(fields[11]) + int(fields[12])) / TICKS
        return cls(cpu_s=cpu_s, main_run_s=int(run) / 1e9, main_wait_s=int(wait) / 1e9, rss_mb=rss / 1024)


class LoopLag:
    """How late this process's own event loop wakes: a generator of load that lags measures itself."""

    def __init__(self, every_s: float = 0.01) -> None:
        self.lags_s: list[float] = []
        self._every_s = every_s

    async def run(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(self._every_s)
            self.lags_s.append(time.monotonic() - before - self._every_s)


def machine() -> str:
    """The machine in a line."""
    cpu = platform.processor() or platform.machine()
    with_name = Path("/proc/cpuinfo").read_text().partition("model name")[2]
    cpu = with_name.partition(":")[2].partition("\n")[0].strip() or cpu
    return f"{os.cpu_count()} cores ({cpu}), Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} before"


def table(rows: Mapping[str, object]) -> str:
    """The rows as a table in Markdown."""
    return "\n".join(["| what | figure |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows.items())])


def write_tiny_base(folder: Path) -> Path:
    """The tests' tiny random base, made by a process of its own: it needs torch, and this one does not."""
    subprocess.run([sys.executable, "-m", "tests.fakes.tiny_base", str(folder)], cwd=ROOT, check=True)
    return folder
