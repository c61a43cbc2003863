"""huggingtweets' five models: accounts of their counts, through X's API, make models whose cards have their tables."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bot.config import Config
from bot.records import CONSOLE, JobState
from models.records import Counts, SourceSettings, XApiSettings
from tests.bot.quick import end_of, serving
from tests.fakes.children.orders import Orders
from tests.fakes.five_models import MODELS, Row, add_accounts
from tests.fakes.internet import FakeInternet
from tests.fakes.x_api import FakeX


def row_of(counts: Counts) -> tuple[str, str, int, int, int, int]:
    return (counts.handle, counts.name, counts.downloaded, counts.retweets, counts.short, counts.kept)


@pytest.mark.parametrize("model", MODELS)
async def test_an_account_of_those_counts_makes_the_published_table(
    quick: Config, orders: Orders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    x = FakeX(token="not-a-real-token", reach=3250)
    add_accounts(x, model)
    async with FakeInternet(folder=tmp_path / "net") as net:
        x.install(net)
        for name, value in {**net.environment, "X_BEARER_TOKEN": x.token}.items():
            monkeypatch.setenv(name, value)
        config = msgspec.structs.replace(
            quick, sources=SourceSettings(max_posts=3250), x_api=XApiSettings(accept_terms=True)
        )
        async with serving(config, orders) as service:
            handles = [row.handle for row in MODELS[model]]
            plan = await service.plan(CONSOLE, handles=handles, ground="public_figure")
            assert plan.name == model
            assert plan.usd == pytest.approx(len(handles) * (0.01 + 3250 * 0.005))
            job = await service.start(CONSOLE, plan)
            await service.confirm(CONSOLE, job.id)
            job = await end_of(service, job.id)
            assert (job.state, job.error) == (JobState.DONE, None)
            found = service.library.find(CONSOLE, model)
            manifest = await service.library.manifest(found)
            card = (service.data.models / found.folder / "README.md").read_text(encoding="utf-8")
    assert [row_of(counts) for counts in manifest.accounts] == [
        (row.handle, row.name, row.downloaded, row.retweets, row.short, row.kept) for row in MODELS[model]
    ]
    for label, field in (("Posts downloaded", "downloaded"), ("Retweets", "retweets"), ("Short posts", "short")):
        assert _line(label, MODELS[model], field) in card
    assert _line("Posts kept", MODELS[model], "kept") in card
    assert f"# {' & '.join(row.name for row in MODELS[model])}" in card
    assert ("AI CYBORG" if len(handles) > 1 else "AI BOT") in card
    assert x.billed_posts == sum(row.downloaded for row in MODELS[model])
    assert x.billed_users == len(handles)


def _line(label: str, rows: tuple[Row, ...], field: str) -> str:
    return f"| {label} | {' | '.join(str(getattr(row, field)) for row in rows)} |"
