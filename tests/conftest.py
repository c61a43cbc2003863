"""What the tests share: a tiny random base, configurations on it, and archives to learn from."""

from __future__ import annotations

import fcntl
import json
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bot.config import BotSettings, Config, DiscordSettings
from models.engine.settings import EngineSettings
from models.records import TrainingSettings
from tests.fakes.internet import FakeInternet

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of some 50,000 parameters with a tokenizer of its own, made once for all workers."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "tiny-base"
    with shared.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "done").exists():
            subprocess.run([sys.executable, "-m", "tests.fakes.tiny_base", str(shared)], cwd=ROOT, check=True)
            (shared / "done").touch()
    return shared


@pytest.fixture
def config(tiny_base: Path, tmp_path: Path) -> Config:
    """A configuration in which a training takes a second or two."""
    return Config(
        bot=BotSettings(data_dir=str(tmp_path / "var"), min_free_disk_mb=1, stop_grace_s=5.0),
        discord=DiscordSettings(progress_every_s=1.0),
        training=TrainingSettings(
            base=str(tiny_base), epochs=1, evaluations_per_epoch=2, threads=1, precision="fp32", max_post_tokens=64
        ),
        engine=EngineSettings(threads=1, precision="fp32", max_tokens=24, timeout_s=60.0),
    )


@pytest.fixture
def write_config(config: Config, tmp_path: Path) -> Callable[..., Path]:
    """Writes the configuration as a file, with changes as `section={key: value}`; returns its path."""

    def write(**changes: dict[str, object]) -> Path:
        import msgspec

        tables = msgspec.to_builtins(config)
        lines = []
        for name, table in tables.items():
            lines.append(f"[{name}]")
            for key, value in {**table, **changes.get(name, {})}.items():
                lines.append(f"{key} = {_toml(value)}")
        path = tmp_path / "config.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def _toml(value: object) -> str:
    """A value as TOML has it: JSON, but for tables."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


@pytest.fixture
async def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeInternet]:
    """The web, as far as this process and its children can see."""
    async with FakeInternet(folder=tmp_path / "net") as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        yield fake


@pytest.fixture
def posts_file(tmp_path: Path) -> Path:
    """120 different made-up posts of @robin as JSONL: enough to pass huggingtweets' floor."""
    path = tmp_path / "robin.jsonl"
    path.write_text("".join(json.dumps(post) + "\n" for post in made_up_posts(120)))
    return path


def made_up_posts(count: int, handle: str = "robin") -> list[dict[str, str]]:
    """Posts of a made-up account, no two alike; a longer list begins as a shorter one."""
    things = ("kettle", "ladder", "pigeon", "harbour", "button", "tram", "lamp", "piano", "garden", "umbrella")
    deeds = ("sang", "slept", "waited", "complained", "rolled away", "forgot my name", "caught fire", "bowed")
    moods = ("quietly", "at last", "again", "without me", "in the rain", "for once", "by mistake", "all night")
    links = ("and", "but", "so", "while", "because", "until")
    rng = random.Random(1)

    def text() -> str:
        first, second = (f"the {rng.choice(things)} {rng.choice(deeds)} {rng.choice(moods)}" for _ in range(2))
        return f"{first}, {rng.choice(links)} {second}."

    return [
        {
            "id": str(1000 + i),
            "screen_name": handle,
            "created_at": f"2024-01-{1 + i % 28:02d}T10:{i % 60:02d}:00Z",
            "text": text(),
        }
        for i in range(count)
    ]
