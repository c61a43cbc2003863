"""Accounts that are fetched: what is held is not asked for again, and a child gets only the secrets that it needs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from bot.config import Config
from bot.forgetting import forget
from bot.records import CONSOLE, Caller, Job, JobState
from bot.service import Service
from models.errors import StillFresh
from models.files import RunFolder, read_manifest, sha256_of
from tests.bot.quick import (
    MANAGER,
    MEMBER,
    STRANGER,
    end_of,
    entered_in,
    plan,
    posts_of,
    serving,
    train,
    until,
    views_of,
)
from tests.conftest import made_up_posts
from tests.fakes.bluesky import FakeBluesky
from tests.fakes.children.orders import Orders
from tests.fakes.internet import FakeInternet
from tests.fakes.x_api import FakeX

ROBIN = "robin.bsky.social"


async def fetched(service: Service, caller: Caller, *handles: str, name: str | None = None, **options: object) -> Job:
    """A whole training of accounts that are fetched, agreed to where it costs."""
    job = await train(service, caller, handles=handles, name=name, ground="public_figure", **options)
    await service.confirm(caller, job.id)
    ended = await end_of(service, job.id)
    assert ended.state == JobState.DONE, ended.error
    return ended


def folder_of(service: Service, job: Job) -> RunFolder:
    return RunFolder(service.data.runs / str(job.id))


def newer(x: FakeX, count: int) -> None:
    """More posts of @robin on X."""
    x.add_posts("robin", [post["text"] for post in made_up_posts(120 + count)[120:]])


# --- what is held already ---------------------------------------------------------------------------------------------


async def test_a_second_training_asks_only_for_what_is_newer_and_learns_all(
    priced: Config, orders: Orders, x: FakeX
) -> None:
    async with serving(priced, orders) as service:
        first = await fetched(service, MEMBER, "@robin")
        assert x.billed_posts == 120
        newest = x.users["robin"].posts[-1].id
        newer(x, 7)
        second = await fetched(service, MEMBER, "@Robin", name="redbreast")
        assert x.billed_posts == 127 and set(x.delivered.values()) == {1}
        assert [query.get("since_id") for query in x.queries if "since_id" in query] == [str(newest)]
        (account,) = folder_of(service, second).read_spec().accounts
        assert account.held == "0/raw.jsonl.zst"
        assert len(list(folder_of(service, second).read_raw())) == 127
        assert folder_of(service, first).is_collected and not folder_of(service, first).inputs.exists()
        # A third one builds on the second, and another server on what is there as well.
        third = await fetched(service, STRANGER, "robin")
        assert x.billed_posts == 127
        assert len(list(folder_of(service, third).read_raw())) == 127


async def test_one_account_of_a_mixed_voice_is_held_for_itself(priced: Config, orders: Orders, x: FakeX) -> None:
    x.add_user("wren", posts=[post["text"] for post in made_up_posts(240)[120:]])
    async with serving(priced, orders) as service:
        await fetched(service, MEMBER, "wren", "robin", name="duet")
        orders.give("fit-waits")
        job = await train(service, MEMBER, handles=["robin"])
        await service.confirm(MEMBER, job.id)
        folder = folder_of(service, job)
        held = folder.read_spec().accounts[0].held
        assert held
        kept = RunFolder((folder.inputs / held).parent)
        assert [number for number, _ in kept.read_raw()] == [0] * 120
        # So forgetting the other takes all that there is of it, and leaves this one alone.
        wren = x.users["wren"].posts[0].text
        await until(service, job.id, lambda view: view.phase == "train")
        await forget(service, CONSOLE, "wren", block=False)
        for path in service.data.runs.rglob("raw.jsonl.zst"):
            assert all(post.text != wren for _, post in RunFolder(path.parent).read_raw())
        orders.revoke("fit-waits")
        assert (await end_of(service, job.id)).state == JobState.DONE


async def test_posts_that_are_not_to_be_kept_are_gone_with_the_training(
    priced: Config, orders: Orders, x: FakeX, tmp_path: Path
) -> None:
    keep_none = msgspec.structs.replace(priced, sources=msgspec.structs.replace(priced.sources, keep_posts=False))
    async with serving(keep_none, orders) as service:
        first = await fetched(service, MEMBER, "robin")
        folder = folder_of(service, first)
        assert not any(path.suffix in (".zst", ".jsonl") for path in folder.path.rglob("*"))
        secret = x.users["robin"].posts[0].text.encode()
        assert not any(secret in path.read_bytes() for path in folder.path.rglob("*") if path.is_file())
        second = await fetched(service, MEMBER, "robin", name="redbreast")
        assert folder_of(service, second).read_spec().accounts[0].held is None
        assert x.billed_posts == 240


async def test_who_stops_keeping_posts_has_those_of_earlier_trainings_dropped(
    quick: Config, orders: Orders, tmp_path: Path
) -> None:
    async with serving(quick, orders) as service:
        job = await end_of(service, (await train(service, MEMBER, posts_of(tmp_path))).id)
        assert folder_of(service, job).raw_file.exists()
    keep_none = msgspec.structs.replace(quick, sources=msgspec.structs.replace(quick.sources, keep_posts=False))
    async with serving(keep_none, orders) as service:
        await service.tidy()
        assert not folder_of(service, job).raw_file.exists() and not folder_of(service, job).dataset_file.exists()
        assert folder_of(service, job).read_stats().accounts[0].handle == "robin"


async def test_a_training_that_failed_after_collecting_is_tried_again_without_asking_anybody(
    priced: Config, orders: Orders, x: FakeX, net: FakeInternet
) -> None:
    async with serving(priced, orders) as service:
        orders.give("fit-fails", "no")
        job = await train(service, MEMBER, handles=["robin"])
        await service.confirm(MEMBER, job.id)
        assert (await end_of(service, job.id)).state == JobState.FAILED
        asked = len(net.asked)
        again = await end_of(service, (await service.retry(MEMBER, job.id)).id)
        assert (again.state, len(net.asked)) == (JobState.DONE, asked)


# --- the same again ---------------------------------------------------------------------------------------------------


async def test_what_was_fetched_a_short_while_ago_is_still_fresh_until_its_date(
    service: Service, sky: FakeBluesky
) -> None:
    digest = (await plan(service, MEMBER, handles=[ROBIN])).digest
    model = await entered_in(service, ROBIN, handles=[ROBIN], digest=digest)
    with pytest.raises(StillFresh) as caught:
        await plan(service, MEMBER, handles=[ROBIN.upper()])
    again = model.created_at + timedelta(days=service.config.sources.fresh_days)
    assert (caught.value.name, caught.value.version, caught.value.again) == (ROBIN, 1, again)
    assert f"{again:%Y-%m-%d}" in str(caught.value)
    # Another name is another model, and the date passes.
    assert (await plan(service, MEMBER, handles=[ROBIN], name="redbreast")).follows is None
    for age_days, is_fresh in ((6.9, True), (7.1, False)):
        at = (datetime.now(UTC) - timedelta(days=age_days)).isoformat(timespec="seconds")
        await service.registry._write("UPDATE versions SET created_at = ?", at)
        await service.library.load()
        if is_fresh:
            with pytest.raises(StillFresh):
                await plan(service, MEMBER, handles=[ROBIN])
        else:
            follows = (await plan(service, MEMBER, handles=[ROBIN])).follows
            assert follows and follows.version == 1


async def test_a_fetched_account_beside_a_file_is_still_fresh_as_well(service: Service, tmp_path: Path) -> None:
    posts = posts_of(tmp_path)
    digest = (await plan(service, MEMBER, posts, handles=["robin", ROBIN])).digest
    await entered_in(service, "duet", handles=["robin", ROBIN], digest=digest)
    with pytest.raises(StillFresh):
        await plan(service, MEMBER, posts, handles=["robin", ROBIN], name="duet")


# --- secrets ----------------------------------------------------------------------------------------------------------


async def test_each_child_gets_only_the_secrets_that_it_needs(
    priced: Config, orders: Orders, x: FakeX, sky: FakeBluesky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "a token of Discord")
    async with serving(priced, orders) as service:
        await fetched(service, MEMBER, "robin")
        await fetched(service, MEMBER, ROBIN)
        for handle in ("robin", "robin", ROBIN, ROBIN):  # told the code, then looked at
            with pytest.raises(Exception, match="is yours"):
                await service.owners.require_owner(MEMBER, handle)
        await service.say(MEMBER)
    given = orders.environments()
    has_token = [(role, "X_BEARER_TOKEN" in environment) for role, environment in given if role != "engine"]
    assert has_token == [
        *(("collect", True), ("fit", False), ("collect", False), ("fit", False)),
        *(("look", True), ("look", False)),
    ]
    assert [x.token in environment.values() for role, environment in given if role == "engine"] == [False]
    assert not any("a token of Discord" in environment.values() for _, environment in given)


async def test_the_token_is_in_no_file_log_or_error(
    priced: Config, orders: Orders, x: FakeX, caplog: pytest.LogCaptureFixture
) -> None:
    x.echoes = True
    async with serving(priced, orders) as service:
        await fetched(service, MEMBER, "robin")
        x.token = "another one, so that ours is refused"
        job = await train(service, MEMBER, handles=["robin"], name="again", ground="public_figure")
        await service.confirm(MEMBER, job.id)
        views = await views_of(service, job.id)
        assert views[-1].job.state == JobState.FAILED and "X_BEARER_TOKEN" in (views[-1].job.error or "")
    token = "a-token-of-X"
    assert token not in caplog.text and not any(token in str(view) for view in views)
    assert not any(token.encode() in path.read_bytes() for path in priced.data_dir.rglob("*") if path.is_file())


# --- where posts went -------------------------------------------------------------------------------------------------


async def test_who_waits_is_told_what_became_of_the_posts_of_each_account(
    service: Service, orders: Orders, sky: FakeBluesky, tmp_path: Path
) -> None:
    orders.give("fit-waits")
    posts = posts_of(tmp_path)
    with posts.open("a") as file:
        file.write('{"id": "9", "screen_name": "robin", "text": "RT @wren: hear"}\n')
    job = await train(service, MEMBER, posts, handles=["robin", ROBIN], name="duet")
    view = await until(service, job.id, lambda view: view.phase == "train")
    assert "@robin: 121 posts, of which 120 are learned (1 retweets left out)." in view.notices
    assert f"@{ROBIN}: 120 posts, of which 120 are learned." in view.notices


@pytest.mark.parametrize("of", [lambda folder: folder.raw_file, lambda folder: folder.dataset_file])
async def test_the_manifest_tells_which_files_the_model_was_made_from(
    service: Service, tmp_path: Path, of: Callable[[RunFolder], Path]
) -> None:
    job = await end_of(service, (await train(service, MEMBER, posts_of(tmp_path))).id)
    model = service.library.find(MEMBER, "robin")
    lineage = read_manifest(service.data.models / model.folder).lineage
    assert [(made.stage, made.name) for made in lineage] == [("collect", "raw.jsonl.zst"), ("clean", "dataset.jsonl")]
    file = of(folder_of(service, job))
    made = next(made for made in lineage if made.name == file.name)
    assert (made.sha256, made.size) == (sha256_of(file), file.stat().st_size)
    assert {"mockingbird", "cleaning", "python"} <= set(made.code)
    assert timedelta(0) <= datetime.now(UTC) - made.made_at < timedelta(minutes=1)


async def test_a_forgotten_account_is_held_for_nobody(priced: Config, orders: Orders, x: FakeX) -> None:
    async with serving(priced, orders) as service:
        await fetched(service, MANAGER, "robin")
        await forget(service, MANAGER, "robin", block=False)
        again = await fetched(service, MEMBER, "robin")
        assert folder_of(service, again).read_spec().accounts[0].held is None
        assert x.billed_posts == 240
