"""The service with stand-ins for its two children: a training takes half a second, and does as it is ordered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from bot.children import Programs
from bot.config import BotSettings, Config
from bot.datadir import DataDir
from bot.plans import Plan
from bot.records import Caller, Job, JobState, JobView, ModelVersion
from bot.registry import Registry
from bot.service import Service, open_service
from models.engine.settings import EngineSettings
from models.files import seal
from models.messages import Generate
from models.records import Ground, TrainingSettings
from tests.conftest import made_up_posts
from tests.fakes.children.orders import Orders
from tests.models.made import made_counts, made_manifest

CHILDREN = "tests.fakes.children"
PATIENCE_S = 30.0

MEMBER = Caller(server_id=42, user_id=7, channel_id=420, may_train=True)
NEIGHBOUR = Caller(server_id=42, user_id=8, channel_id=420, may_train=True)
MANAGER = Caller(server_id=42, user_id=1, channel_id=420, may_train=True, may_manage=True)
STRANGER = Caller(server_id=43, user_id=9, channel_id=430, may_train=True, may_manage=True)


def quick_config(tmp_path: Path, **tables: Any) -> Config:
    """A configuration for stand-ins, with other tables where they are given."""
    config = Config(
        bot=BotSettings(data_dir=str(tmp_path / "var"), min_free_disk_mb=1, stop_grace_s=5.0),
        training=TrainingSettings(base="quick"),
        engine=EngineSettings(timeout_s=PATIENCE_S),
    )
    return msgspec.structs.replace(config, **tables)


def with_bot(config: Config, **changes: Any) -> Config:
    """The configuration with other values in its [bot] table."""
    return msgspec.structs.replace(config, bot=msgspec.structs.replace(config.bot, **changes))


@asynccontextmanager
async def serving(config: Config, orders: Orders) -> AsyncIterator[Service]:
    """The service on stand-ins; it ends without a word, as a killed one does, if nobody drains it before."""
    programs = Programs(
        engine=("-m", f"{CHILDREN}.quick_engine", str(orders.folder)),
        trainer=("-m", f"{CHILDREN}.quick_trainer", str(orders.folder)),
    )
    async with open_service(config, DataDir(config.data_dir), "test", programs=programs) as service:
        yield service


def posts_of(folder: Path, handle: str = "robin", count: int = 120) -> Path:
    """A JSONL file with posts of an account."""
    path = folder / f"{handle}-{count}.jsonl"
    path.write_text("".join(json.dumps(post) + "\n" for post in made_up_posts(count, handle)))
    return path


async def plan(
    service: Service,
    caller: Caller,
    *files: Path,
    handles: Sequence[str] = (),
    ground: Ground | None = "public_domain",
    **options: Any,
) -> Plan:
    """Plan a training of made-up posts."""
    return await service.plan(caller, handles=handles, files=files, ground=ground, **options)


async def train(service: Service, caller: Caller, *files: Path, handles: Sequence[str] = (), **options: Any) -> Job:
    """Plan a training and start it."""
    return await service.start(caller, await plan(service, caller, *files, handles=handles, **options))


async def end_of(service: Service, job_id: int) -> Job:
    """The job at its end."""
    return (await views_of(service, job_id))[-1].job


async def views_of(service: Service, job_id: int) -> list[JobView]:
    """All that a watcher sees of the job, up to its end."""
    async with asyncio.timeout(PATIENCE_S):
        return [view async for view in service.watch(job_id)]


async def until(service: Service, job_id: int, condition: Callable[[JobView], object]) -> JobView:
    """The first view of the job for which the condition holds."""
    async with asyncio.timeout(PATIENCE_S), aclosing(service.watch(job_id)) as views:
        async for view in views:
            if condition(view):
                return view
    raise AssertionError(f"job {job_id} ended before")


async def is_training(service: Service, job_id: int) -> JobView:
    """The job, once its trainer is at the steps."""
    return await until(service, job_id, lambda view: view.phase == "train")


def asked(orders: Orders) -> list[Generate]:
    """What the engine has been asked so far."""
    kept = orders.folder / "requests.jsonl"
    return [msgspec.json.decode(line, type=Generate) for line in kept.read_bytes().splitlines()]


# --- without a child at all -------------------------------------------------------------------------------------------


def unplaced(job_id: int) -> None:
    """In place of what puts a job's files in their place."""


async def entered(
    registry: Registry,
    name: str = "robin",
    *,
    caller: Caller = MEMBER,
    handles: Sequence[str] = ("robin",),
    digest: str | None = None,
    models: Path | None = None,
) -> ModelVersion:
    """A version as a training leaves it, entered in the registry; with `models` its folder is made there too."""
    job = await registry.add_job(caller, model=name, handles=handles, digest=digest, place_files=unplaced)
    for state in (JobState.COLLECTING, JobState.FITTING):
        job = await registry.move(job, state)
    job, folder = await registry.begin_saving(job)
    await registry.finish(job, folder, posts=100, bits_per_byte=1.5)
    if models:
        (models / folder).mkdir(parents=True)
        (models / folder / "model.safetensors").write_bytes(b"weights of " + name.encode())
        accounts = tuple(made_counts(handle, handle.title()) for handle in handles)
        seal(models / folder, made_manifest(job_id=job.id, model=name, accounts=accounts))
    return next(m for m in await registry.models() if m.job_id == job.id)


async def entered_in(service: Service, name: str = "robin", **options: Any) -> ModelVersion:
    """The same in a service that runs."""
    model = await entered(service.registry, name, models=service.data.models, **options)
    await service.library.load()
    return model


def made_job(number: int, **changes: Any) -> Job:
    """A queued job that is in no registry."""
    job = Job(
        id=number,
        server_id=42,
        user_id=7,
        channel_id=None,
        message_id=None,
        announced=False,
        model=None,
        handles=(),
        state=JobState.QUEUED,
        cancel_requested=False,
        confirmed=True,
        breakdowns=0,
        version=None,
        error=None,
        digest=None,
        created_at=datetime.fromisoformat("2024-05-06T07:08:09+00:00"),
        started_at=None,
        ended_at=None,
    )
    return replace(job, **changes)


def numbers(jobs: Iterable[Job]) -> list[int]:
    """The jobs by their numbers."""
    return [job.id for job in jobs]
