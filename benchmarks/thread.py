"""The main thread, measured as its user meets it: `python -m benchmarks.thread [ARCHIVE_OR_JSONL [HANDLE]]`.

Prints: seconds and memory of the bot process until Discord's READY (against the tests' stand-in), before anything was
trained; then, through the service, seconds from `/train` of the file (default: the sample) to the first `/say`, and of
a `/say` of 1 and of 5 posts. One run, nothing averaged.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from bot.config import BotSettings, Config
from bot.datadir import DataDir
from bot.demo import SAMPLE
from bot.records import CONSOLE, JobState
from bot.service import open_service
from tests.fakes.discord_server import FakeDiscord


async def main(file: Path, handle: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        await measure_start(Path(folder))
        await measure_training(Path(folder), file, handle)


async def measure_start(folder: Path) -> None:
    config = folder / "config.toml"
    config.write_text(f'[bot]\ndata_dir = "{folder / "start"}"\n')
    async with FakeDiscord() as fake:
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "bot", "--config", str(config), "run"),
            env={**os.environ, "DISCORD_TOKEN": fake.token, "MOCKINGBIRD_DISCORD_API": f"{fake.url}/api/v10"},
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await fake.wait_ready(60)
            seconds = time.monotonic() - started
            await asyncio.sleep(10)  # the engine has started beside it
            print(f"bot process: READY after {seconds:.2f} s, {_resident_mb(process.pid):.0f} MiB resident")
        finally:
            process.terminate()
            await process.wait()


async def measure_training(folder: Path, file: Path, handle: str | None) -> None:
    config = Config(bot=BotSettings(data_dir=str(folder / "train")))
    async with open_service(config, DataDir(config.data_dir), "benchmark") as service:
        await service.engine.wait_ready()
        started = time.monotonic()
        plan = await service.plan(CONSOLE, handles=[handle] if handle else [], files=[file], ground="public_domain")
        job = await service.start(CONSOLE, plan)
        async for view in service.watch(job.id):
            job = view.job
        if job.state != JobState.DONE:
            raise SystemExit(f"the training failed: {job.error}")
        trained = time.monotonic()
        answer = await service.say(CONSOLE, seed=1)
        model = answer.model
        print(
            f"/train of {file.name}: {model.posts:,} posts, {model.bits_per_byte:.3f} held-out bits per byte, "
            f"{trained - started:.1f} s to the model, {time.monotonic() - started:.1f} s to the first /say"
        )
        for count in (1, 5):
            asked = time.monotonic()
            answer = await service.say(CONSOLE, count=count, seed=2)
            print(f"/say of {count}: {time.monotonic() - asked:.2f} s")
            for text in answer.texts:
                print(f"  {' '.join(text.split())}")


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE, sys.argv[2] if len(sys.argv) > 2 else None))
