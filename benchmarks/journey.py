"""What the benchmarks of sources share: a stand-in web, a service on it, and the way from `/train` to the first `/say`.

The service, its children, and the connections between them and the stand-in (TLS on loopback) are what runs in
production; only how far away the platforms are is missing.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.config import BotSettings, Config
from bot.datadir import DataDir
from bot.records import CONSOLE, JobState, ModelVersion
from bot.service import Service, open_service
from models.records import Counts, SourceSettings, TrainingSettings, XApiSettings
from tests.fakes.internet import FakeInternet
from tests.fakes.x_api import FakeX

MAX_POSTS = 3_250  # of an account: as many as huggingtweets got
EPOCHS = 1  # instead of 3, to keep it short


@dataclass(frozen=True, kw_only=True)
class House:
    """A service, and the web that its children see."""

    folder: Path
    net: FakeInternet
    x: FakeX
    service: Service


@dataclass(frozen=True, kw_only=True)
class Journey:
    """What came of one training. Seconds are counted from `/train`."""

    model: ModelVersion
    accounts: tuple[Counts, ...]
    card: str
    asked_usd: float  # at most, as the plan said
    paid_usd: float
    requests: int
    collected_s: float  # until the posts are collected and cleaned
    trained_s: float
    said_s: float
    text: str  # the first that it said


@asynccontextmanager
async def open_house() -> AsyncIterator[House]:
    """The service with the built-in base and X's API switched on; its engine is ready. What was set is put back."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        async with FakeInternet(folder=folder / "net") as net:
            x = FakeX(token="a-token-of-nobody", reach=MAX_POSTS)
            x.install(net)
            os.environ |= {**net.environment, "X_BEARER_TOKEN": x.token}
            config = Config(
                bot=BotSettings(data_dir=str(folder / "var")),
                sources=SourceSettings(max_posts=MAX_POSTS),
                x_api=XApiSettings(accept_terms=True),
                training=TrainingSettings(epochs=EPOCHS),
            )
            try:
                async with open_service(config, DataDir(config.data_dir), "benchmark") as service:
                    await service.engine.wait_ready()
                    yield House(folder=folder, net=net, x=x, service=service)
            finally:
                os.environ.clear()
                os.environ |= before


async def travel(house: House, *, handles: Sequence[str] = (), files: Sequence[Path] = ()) -> Journey:
    """Train a model of the accounts and have it say something; the program ends if the training fails."""
    service, x = house.service, house.x
    requests, posts, users = len(house.net.asked), x.billed_posts, x.billed_users
    started = time.monotonic()
    plan = await service.plan(CONSOLE, handles=handles, files=files, ground="public_figure")
    job = await service.start(CONSOLE, plan)
    job = await service.confirm(CONSOLE, job.id)
    collected_s = 0.0
    async for view in service.watch(job.id):
        job = view.job
        if job.state == JobState.FITTING and not collected_s:
            collected_s = time.monotonic() - started
    if job.state != JobState.DONE:
        raise SystemExit(f"the training failed: {job.error}")
    trained_s = time.monotonic() - started
    model = service.library.find(CONSOLE, job.model)
    answer = await service.say(CONSOLE, model=model, seed=1)
    said_s = time.monotonic() - started
    prices = service.config.x_api
    return Journey(
        model=model,
        accounts=(await service.library.manifest(model)).accounts,
        card=(service.data.models / model.folder / "README.md").read_text(encoding="utf-8"),
        asked_usd=plan.usd,
        paid_usd=(x.billed_posts - posts) * prices.post_usd + (x.billed_users - users) * prices.user_usd,
        requests=len(house.net.asked) - requests,
        collected_s=collected_s,
        trained_s=trained_s,
        said_s=said_s,
        text=" ".join(answer.texts[0].split()),
    )
