"""A pull that is broken off goes on where it was and pays for nothing twice; the next one asks for what is new."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
import zstandard

from bot.config import Config
from bot.records import CONSOLE, JobState
from models.errors import StillFresh
from tests.bot.platforms import HANDLES, PAGE_POSTS, Gate, Platforms, begin, fetching, hasty, too_many
from tests.bot.quick import PATIENCE_S, end_of, until
from tests.fakes.children.orders import Orders
from tests.fakes.internet import FakeInternet
from tests.fakes.x_answers import UNAUTHORIZED, USAGE_CAP, rate_limit
from tests.fakes.x_api import FakeX

EACH = pytest.mark.parametrize("platform", HANDLES)


@pytest.fixture
def platforms(net: FakeInternet, x: FakeX) -> Platforms:
    return Platforms.on(net, x)


def contents_of(folder: Path) -> dict[str, bytes]:
    """What is in every file under the folder, unpacked."""
    contents = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    unpack = zstandard.ZstdDecompressor
    return {
        name: unpack().decompressobj().decompress(content) if name.endswith(".zst") else content
        for name, content in contents.items()
    }


async def reached(gate: Gate) -> None:
    """Wait until a page is asked for that the gate does not let through."""
    async with asyncio.timeout(PATIENCE_S):
        await gate.reached.wait()


def require_each_page_once(platforms: Platforms, gate: Gate, platform: str, posts: int) -> None:
    """Each page went through once, and of X each post was paid for once."""
    queries = [tuple(sorted(page.items())) for page in gate.pages]
    assert len(set(queries)) == len(queries)
    if platform == "x":
        assert set(platforms.x.delivered.values()) == {1}
        assert platforms.x.billed_posts == posts
        assert platforms.x.billed_users == 1


@EACH
async def test_a_collector_that_is_killed_in_a_pull_is_followed_by_one_that_pulls_no_page_twice(
    quick: Config, orders: Orders, platforms: Platforms, platform: str
) -> None:
    posts = 3 * PAGE_POSTS[platform] + 20
    platforms.post(platform, posts)
    gate = platforms.gate(platform, after=2)
    async with hasty(fetching(quick), orders) as service:
        job = await begin(service, HANDLES[platform])
        await reached(gate)
        (pid,) = service.trainer_pids
        os.kill(pid, signal.SIGKILL)
        gate.open()
        ended = await end_of(service, job.id)
        assert (ended.state, ended.breakdowns, ended.error) == (JobState.DONE, 1, None)
        (model,) = service.library.visible(CONSOLE)
        assert (await service.library.manifest(model)).accounts[0].downloaded == posts
    require_each_page_once(platforms, gate, platform, posts)


@pytest.mark.parametrize("platform", ["x", "mastodon"])
async def test_a_bot_that_is_killed_in_a_pull_goes_on_at_its_next_start_and_pulls_no_page_twice(
    quick: Config, orders: Orders, platforms: Platforms, platform: str
) -> None:
    posts = 3 * PAGE_POSTS[platform] + 20
    platforms.post(platform, posts)
    gate = platforms.gate(platform, after=2)
    async with hasty(fetching(quick), orders) as service:
        job = await begin(service, HANDLES[platform])
        await reached(gate)
    gate.open()
    async with hasty(fetching(quick), orders) as service:
        ended = await end_of(service, job.id)
        assert (ended.state, ended.breakdowns, ended.error) == (JobState.DONE, 0, None)
        (model,) = service.library.visible(CONSOLE)
        assert (await service.library.manifest(model)).accounts[0].downloaded == posts
    require_each_page_once(platforms, gate, platform, posts)


@EACH
async def test_a_rate_limit_beyond_patience_ends_the_job_and_a_retry_goes_on_from_the_page_where_it_was(
    quick: Config, orders: Orders, platforms: Platforms, platform: str
) -> None:
    posts = 3 * PAGE_POSTS[platform] + 20
    platforms.post(platform, posts)
    gate = platforms.gate(platform, after=2, answer=partial(too_many, platform, 3000))
    async with hasty(fetching(quick), orders) as service:
        failed = await end_of(service, (await begin(service, HANDLES[platform])).id)
        assert failed.state == JobState.FAILED
        assert "lets me ask no more for now. What came so far is kept: /jobs retry goes on after" in (
            failed.error or ""
        )
        gate.open()
        again = await end_of(service, (await service.retry(CONSOLE, failed.id)).id)
        assert (again.state, again.error) == (JobState.DONE, None)
        (model,) = service.library.visible(CONSOLE)
        assert (await service.library.manifest(model)).accounts[0].downloaded == posts
    require_each_page_once(platforms, gate, platform, posts)


@pytest.mark.parametrize(
    ("platform", "waits"), [*((name, "for a rate limit") for name in HANDLES), ("x", "for an answer")]
)
async def test_a_cancel_is_heard_while_a_pull_waits_and_a_retry_goes_on(
    quick: Config, orders: Orders, platforms: Platforms, platform: str, waits: str
) -> None:
    posts = PAGE_POSTS[platform] + 100
    platforms.post(platform, posts)
    is_limit = waits == "for a rate limit"
    answer = partial(too_many, platform, 600) if is_limit else None
    gate = platforms.gate(platform, after=1, answer=answer)
    async with hasty(fetching(quick), orders) as service:
        job = await begin(service, HANDLES[platform])
        await reached(gate)
        if is_limit:
            view = await until(service, job.id, lambda view: view.notices)
            assert "wants me to wait for 11 min" in view.notices[-1]
        asked_at = time.monotonic()
        await service.cancel(CONSOLE, job.id)
        assert (await end_of(service, job.id)).state == JobState.CANCELLED
        assert time.monotonic() - asked_at < 30  # and not the ten minutes
        gate.open()
        again = await end_of(service, (await service.retry(CONSOLE, job.id)).id)
        assert (again.state, again.error) == (JobState.DONE, None)
    require_each_page_once(platforms, gate, platform, posts)


async def test_what_came_of_two_accounts_is_kept_when_the_third_fails(
    quick: Config, orders: Orders, platforms: Platforms
) -> None:
    for platform in HANDLES:
        platforms.post(platform, 150)
    gates = {platform: platforms.gate(platform, after=1_000) for platform in ("x", "bluesky")}
    last = platforms.gate("mastodon", after=1, answer=partial(too_many, "mastodon", 3000))
    async with hasty(fetching(quick), orders) as service:
        failed = await end_of(service, (await begin(service, *HANDLES.values())).id)
        assert (failed.error or "").startswith("toots.test lets me ask no more for now.")
        last.open()
        again = await end_of(service, (await service.retry(CONSOLE, failed.id)).id)
        assert (again.state, again.error) == (JobState.DONE, None)
    for platform, gate in (*gates.items(), ("mastodon", last)):
        require_each_page_once(platforms, gate, platform, 150)


@EACH
async def test_the_next_training_of_an_account_asks_for_what_is_new_and_learns_old_and_new(
    quick: Config, orders: Orders, platforms: Platforms, platform: str
) -> None:
    posts = 2 * PAGE_POSTS[platform] + 50
    platforms.post(platform, posts)
    gate = platforms.gate(platform, after=1_000)
    async with hasty(fetching(quick), orders) as service:
        assert (await end_of(service, (await begin(service, HANDLES[platform])).id)).state == JobState.DONE
        with pytest.raises(StillFresh):
            await service.plan(CONSOLE, handles=[HANDLES[platform]], ground="public_figure")
    before = len(gate.pages)
    platforms.post(platform, 30)
    async with hasty(fetching(quick, fresh_days=0), orders) as service:
        ended = await end_of(service, (await begin(service, HANDLES[platform])).id)
        assert (ended.state, ended.version, ended.error) == (JobState.DONE, 2, None)
        (model,) = service.library.visible(CONSOLE)
        (counts,) = (await service.library.manifest(model)).accounts
        assert (counts.downloaded, counts.kept) == (posts + 30, posts + 30)
        dataset = service.data.runs / str(ended.id) / "dataset.jsonl"
        assert len(dataset.read_text().splitlines()) == counts.learned
    fresh = gate.pages[before:]
    if platform != "bluesky":  # its servers know no such question: there it stops at the first that is held
        assert fresh[0]["since_id"]
    assert len(fresh) == 1
    if platform == "x":
        assert set(platforms.x.delivered.values()) == {1}
        assert platforms.x.billed_posts == posts + 30


async def test_xs_token_is_in_no_file_no_log_no_error_and_reaches_no_other_stage(
    quick: Config,
    orders: Orders,
    platforms: Platforms,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    x = platforms.x
    x.echoes = True  # its errors repeat what they were asked with
    caplog.set_level(logging.DEBUG)
    platforms.post("x", 250)
    said: list[str] = []
    async with hasty(fetching(quick), orders) as service:
        for fault in (UNAUTHORIZED, USAGE_CAP, rate_limit(3000)):
            x.fail(fault, after=2)
            job = await begin(service, HANDLES["x"])
            async with asyncio.timeout(PATIENCE_S):
                views = [view async for view in service.watch(job.id)]
            said += [str(view) for view in views]
            assert views[-1].job.state == JobState.FAILED
            x.heal()
        ended = await end_of(service, (await service.retry(CONSOLE, job.id)).id)
        assert ended.state == JobState.DONE
    contents = contents_of(quick.data_dir)
    assert any("/pages/" in name for name in contents)
    assert [name for name, content in contents.items() if x.token.encode() in content] == []
    out, err = capfd.readouterr()
    assert x.token not in "\n".join([caplog.text, out, err, *said])
    assert "Bearer" not in "\n".join([caplog.text, out, err, *said])
    given = {role: environment.get("X_BEARER_TOKEN") for role, environment in orders.environments()}
    assert given["collect"] == x.token
    assert [role for role, token in given.items() if token] == ["collect"]
