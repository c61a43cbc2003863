"""/train: what is told before, shown during, and announced after; agreeing to what costs money."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable

import pytest

from bot.records import JobState
from tests.conftest import made_up_posts
from tests.fakes.bluesky import FakeBluesky
from tests.fakes.simcord_house import LEARNED, House, labels, private, text

WREN = ("wren.jsonl", "".join(json.dumps(p) + "\n" for p in made_up_posts(120, "wren")).encode())
ON_X = {"handles": "@robin", "archive": None, "ground": "public_figure"}  # options of a /train that costs
PRICED = {"x_api": {"accept_terms": True, "post_usd": 0.0075, "user_usd": 0.0}, "sources": {"max_posts": 200}}


def paid(test: Callable[..., Awaitable[None]]) -> pytest.MarkDecorator:
    """A test in a house for which the operator has switched the X API on."""
    return pytest.mark.usefixtures("x")(pytest.mark.parametrize("house", [PRICED], indirect=True)(test))


async def test_it_tells_what_it_will_do_before_it_does_it(house: House) -> None:
    house.orders.give("fit-waits")
    told = private(await house.train(handles="@robin", name="Red Breast"))
    assert "**Red Breast**" in told
    assert "@\u200brobin: a table, robin.jsonl (" in told
    assert "costs nothing" in told
    assert "starts at once" in told
    progress = house.said()[-1]
    assert f"https://discord.com/channels/{house.guild.id}/{house.channel.id}/{progress.id}" in told
    told = private(await house.train(archive=WREN))
    assert "Before it in the queue: 1" in told
    house.orders.revoke("fit-waits")


async def test_a_newer_archive_says_which_version_it_becomes(house: House) -> None:
    await house.shelve("robin")
    assert "becomes version 2" in private(await house.train(handles="robin"))
    await house.ended(2)


async def test_several_accounts_make_one_model(house: House) -> None:
    told = private(await house.train(handles="@robin, wren", archive2=WREN, name="duet"))
    assert "robin.jsonl" in told
    assert "wren.jsonl" in told
    await house.ended(1)
    await house.pass_time()
    assert "@\u200brobin & @\u200bwren" in private(await house.member.slash(house.channel, "models list"))


async def test_bad_requests_are_refused_in_private_and_queue_nothing(house: House) -> None:
    for options, word in (
        ({"archive": None}, "Tell me what to learn from"),
        ({"archive": None, "handles": "@nasa"}, "can't fetch"),
        ({"handles": "a b c"}, "fetch"),
        ({"handles": "bad*handle"}, "like @nasa"),
        ({"ground": None}, "Say why this account may be imitated"),
        ({"name": "*bad*"}, "letters, digits"),
        ({"archive": ("posts.docx", b"x")}, "neither an archive"),
        ({"archive": ("**@everyone**.docx", b"x")}, "everyone"),
    ):
        told = private(await house.train(**options))
        assert word in told, options
        assert "@everyone" not in told
    assert await house.service.jobs(house.caller) == []
    assert house.said() == []


@pytest.mark.parametrize("house", [{"discord": {"max_attachment_mb": 1}}], indirect=True)
async def test_a_file_that_is_too_large_is_not_downloaded(house: House) -> None:
    told = private(await house.train(archive=("big.jsonl", b"x" * ((1 << 20) + 1))))
    assert "at most 1 MB" in told
    assert await house.service.jobs(house.caller) == []


async def test_the_same_again_is_not_trained_twice(house: House) -> None:
    await house.trained()
    assert "learned exactly these posts already" in private(await house.train(handles="@robin"))


async def test_the_message_shows_how_far_it_is_and_then_the_end_which_is_announced(house: House) -> None:
    house.orders.give("fit-waits")
    house.orders.give("fit-says", "@everyone **half** way https://evil.example")
    await house.train(handles="@robin")
    progress = await house.until(lambda: house.message("half"), each_s=30)
    assert labels(progress) == ["Cancel"]
    assert "@everyone" not in progress.content
    assert "**half**" not in progress.content
    assert "evil" not in progress.content
    house.orders.revoke("fit-waits")
    await house.ended(1)
    await house.pass_time()
    done = house.message("Training robin")
    assert (done.id, done.components) == (progress.id, [])
    assert "done" in done.content
    news = house.message("is ready")
    assert news.id != done.id
    assert [user.id for user in news.mentions] == [house.manager.id]
    assert news.content.count("\n> ") == 3
    assert labels(news) == ["A post"]
    said = await house.member.click(news, label="A post")
    assert "AI imitation" in text(said)


@pytest.mark.parametrize(("refused", "files"), [(False, ["training.png"]), (True, [])])
async def test_the_picture_comes_with_the_news_unless_it_may_not_attach_files(
    house: House, refused: bool, files: list[str]
) -> None:
    await house.train(handles="@robin")
    await house.ended(1)
    model = house.service.library.find(house.caller, "robin")
    (house.service.data.models / model.folder / "training.png").write_bytes(b"\x89PNG")
    if refused:
        house.env.inject_error("POST", "/channels/*/messages", status=403, code=50013, times=1)
    await house.pass_time()
    assert [a.filename for a in house.message("is ready").attachments] == files


async def test_an_edit_comes_at_most_once_in_the_interval(house: House) -> None:
    house.orders.give("fit-waits")
    await house.train(handles="@robin")
    await house.until(lambda: house.message("loss"), each_s=30)
    before = sum(r.method == "PATCH" for r in house.env.http_requests)
    job = await house.service.registry.job(1)
    for number in range(20):
        await house.service._jobs.views.note(job, f"notice {number}")
        await house.pass_time(1)
    edits = sum(r.method == "PATCH" for r in house.env.http_requests) - before
    assert edits <= 2
    house.orders.revoke("fit-waits")
    await house.ended(1)


async def test_a_failure_is_announced_with_its_reason_and_can_be_tried_again(house: House) -> None:
    house.orders.give("fit-fails", "Nothing *here*, @everyone.")
    await house.train(handles="@robin")
    await house.ended(1)
    await house.pass_time()
    news = house.message("(job #1) failed")
    assert "Nothing \\*here\\*" in news.content
    assert [user.id for user in news.mentions] == [house.manager.id]
    assert not news.mention_everyone
    assert "Job #2" in private(await house.manager.click(news, label="Try again"))
    assert (await house.ended(2)).state == JobState.DONE
    await house.pass_time()
    assert house.message("is ready")
    assert "job #1" in private(await house.manager.click(news, label="Try again")).lower()


async def test_a_bug_in_the_trainer_is_told_with_the_number_that_the_log_has(house: House) -> None:
    house.orders.give("fit-breaks", "secret words of a bug")
    await house.train(handles="@robin")
    await house.ended(1)
    await house.pass_time()
    news = house.message("(job #1) failed")
    assert "under job 1" in news.content
    assert "secret" not in news.content
    assert any("job 1" in fault for fault in house.faults())


async def test_a_thread_shows_its_own_training(house: House) -> None:
    message = await house.manager.send(house.channel, "a place to train")
    await house.bot.get_channel(house.channel.id).get_partial_message(message.id).create_thread(name="lab")
    thread = house.channel.threads[0]
    await house.manager.slash(thread, "train", **LEARNED)
    await house.ended(1)
    await house.pass_time()
    assert house.message("is ready", channel=thread)
    assert not house.message("robin")


async def test_the_news_of_an_archived_thread_opens_it_and_mends_the_message(house: House) -> None:
    house.orders.give("fit-waits")
    await house.train(handles="@robin")
    house.env.inject_error("PATCH", "/channels/*/messages/*", status=400, code=50083, times=1)
    house.orders.revoke("fit-waits")
    await house.ended(1)
    await house.pass_time(60)
    assert house.message("is ready")
    assert "done" in house.message("Training robin").content


async def test_the_first_posts_keep_to_the_channels_where_it_may_speak(house: House) -> None:
    other = house.guild.create_text_channel("other")
    await house.service.settings.change(house.guild.id, channels=(house.channel.id,))
    await house.trained()
    assert house.message("is ready").content.count("\n> ") == 3
    refused = private(await house.manager.slash(other, "train", **{**LEARNED, "archive": WREN}))
    assert house.channel.mention in refused


async def test_the_news_of_a_model_that_is_gone_promises_no_posts(house: House) -> None:
    await house.train(handles="@robin")
    await house.ended(1)
    await house.service.library.delete(house.caller, "robin")
    await house.pass_time()
    news = house.said()[-1]
    assert [user.id for user in news.mentions] == [house.manager.id]
    assert "0 posts" not in news.content
    assert labels(news) == []


# --- what is fetched --------------------------------------------------------------------------------------------------


async def test_what_is_fetched_is_told_with_its_place_its_limit_and_the_ground(sky: FakeBluesky, house: House) -> None:
    told = private(await house.train(handles="robin.bsky.social", archive=None, ground="public_figure"))
    assert "@\u200brobin.bsky.social: Bluesky, its newest posts, up to 3,200" in told
    assert "a public figure, as parody" in told
    assert "costs nothing" in told
    assert "One voice" not in told
    assert (await house.ended(1)).version
    await house.pass_time()
    assert house.message("is ready")
    assert "short while ago" in private(
        await house.train(handles="robin.bsky.social", archive=None, ground="public_figure")
    )


async def test_several_accounts_are_told_each_in_its_line_and_that_they_are_mixed(
    sky: FakeBluesky, house: House
) -> None:
    told = private(await house.train(handles="robin.bsky.social, @robin", name="duet"))
    assert "@\u200brobin: a table, robin.jsonl (" in told
    assert "@\u200brobin.bsky.social: Bluesky" in told
    assert "One voice is mixed" in told
    assert told.count("posts in the public domain") == 1
    await house.ended(1)


async def test_ones_own_account_is_trained_once_its_bio_shows_the_code(sky: FakeBluesky, house: House) -> None:
    options = {"handles": "robin.bsky.social", "archive": None, "ground": "own_account"}
    told = private(await house.train(**options))
    code = re.search(r"mockingbird-[0-9a-f]{8}", told)
    assert code and "bio on Bluesky" in told
    assert await house.service.jobs(house.caller) == []
    sky.accounts[0].bio = code[0]
    assert "my own account" in private(await house.train(**options))
    assert (await house.ended(1)).version


async def test_a_models_page_says_who_asked_for_it_on_what_ground(house: House) -> None:
    await house.trained()
    page = text(await house.member.slash(house.channel, "models info", model="robin"))
    assert f"Asked for by {house.manager.mention}" in page
    assert "posts in the public domain" in page


# --- what costs money -------------------------------------------------------------------------------------------------


@paid
async def test_what_costs_money_waits_for_a_word(house: House) -> None:
    result = await house.train(**ON_X)
    assert "$1.50" in private(result)
    assert labels(result.response) == ["Agree and start", "Cancel"]
    await house.pass_time()
    assert house.said() == []
    assert (await house.service.registry.job(1)).state == JobState.QUEUED
    await house.manager.click(result.response, label="Agree and start")
    assert "Agreed. Job #1" in text(result)
    assert labels(result.response) == []
    await house.ended(1)
    await house.pass_time()
    assert house.message("is ready")


@paid
async def test_agreeing_twice_shows_and_announces_once(house: House) -> None:
    house.orders.give("fit-waits")
    result = await house.train(**ON_X)
    buttons = result.response.message
    backend_message = house.env.backend.get_message(house.channel.id, buttons.id)
    kept = list(backend_message.components)
    await house.manager.click(result.response, label="Agree and start")
    backend_message.components = kept  # the second of two quick presses was sent before the first was answered
    await house.manager.click(result.response, label="Agree and start")
    house.orders.revoke("fit-waits")
    await house.ended(1)
    await house.pass_time()
    assert [m.content for m in house.said() if "is ready" in m.content] == [house.message("is ready").content]
    assert len([m for m in house.said() if "Training robin" in m.content]) == 1


@paid
async def test_what_was_not_agreed_to_can_be_cancelled_and_is_not_announced(house: House) -> None:
    result = await house.train(**ON_X)
    await house.manager.click(result.response, label="Cancel")
    assert (await house.ended(1)).state == JobState.CANCELLED
    await house.manager.click(result.response, label="Agree and start")
    assert (await house.service.registry.job(1)).state == JobState.CANCELLED
    await house.restart()
    await house.pass_time()
    assert house.said() == []


@paid
async def test_trying_again_what_was_never_agreed_to_is_refused(house: House) -> None:
    result = await house.train(**ON_X)
    await house.manager.click(result.response, label="Cancel")
    await house.ended(1)
    again = await house.manager.slash(house.channel, "jobs retry", job=1)
    assert "Start it anew" in private(again)
    assert [job.id for job in await house.service.jobs(house.caller)] == [1]


@paid
async def test_the_log_channel_tells_of_trainings_that_were_agreed_to(house: House) -> None:
    log = house.guild.create_text_channel("log")
    await house.service.settings.change(house.guild.id, log_channel=log.id)
    result = await house.train(**ON_X)
    assert house.said(channel=log) == []
    await house.manager.click(result.response, label="Agree and start")
    assert "started job #1" in house.said(channel=log)[0].content
    await house.ended(1)
    await house.pass_time()
    assert "done" in house.said(channel=log)[-1].content
