"""/forget and /mydata: what goes, what the receipt says, and whose it is."""

from __future__ import annotations

import json
import re

from bot.records import HOUSE, JobState
from tests.fakes.bluesky import FakeBluesky
from tests.fakes.simcord_house import House, labels, private, text


async def test_forget_removes_an_account_and_gives_a_receipt(house: House) -> None:
    await house.trained()
    said = await house.member.slash(house.channel, "say")
    receipt = private(await house.manager.slash(house.channel, "forget", handle="@Robin"))
    assert "Receipt" in receipt
    assert "robin v1" in receipt
    assert "training records that named it: 1" in receipt
    assert "not blocked" in receipt
    assert "no model" in private(await house.member.click(said.response, label="Again"))
    assert "robin" not in private(await house.member.slash(house.channel, "jobs list"))
    assert "there were none" in private(await house.manager.slash(house.channel, "forget", handle="robin"))


async def test_forget_with_block_refuses_it_from_then_on(house: House) -> None:
    told = private(await house.manager.slash(house.channel, "forget", handle="robin", block=True))
    assert "refuse to learn it again" in told
    assert "@robin may not be learned" in private(await house.train(handles="@robin")).replace("\u200b", "")
    assert await house.service.jobs(house.caller) == []


async def test_a_blocked_account_is_not_learned_from_a_file_that_names_it(house: House) -> None:
    await house.manager.slash(house.channel, "forget", handle="robin", block=True)
    await house.train()
    assert (await house.ended(1)).state == JobState.FAILED


async def test_forget_stops_a_training_of_it(house: House) -> None:
    house.orders.give("fit-waits")
    await house.train(handles="@robin")
    await house.until(lambda: house.message("loss"), each_s=30)
    result = await house.manager.slash(house.channel, "forget", handle="robin")
    await house.until(lambda: text(result))
    receipt = private(result)
    assert "under way and cancelled: 1" in receipt
    assert (await house.service.registry.job(1)).state == JobState.CANCELLED
    await house.pass_time()
    assert house.message("is cancelled")


async def test_forget_leaves_other_servers_alone(house: House) -> None:
    guild, channel, mallory = house.other_guild()
    await house.shelve("robin")
    await house.shelve("robin", server_id=guild.id)
    await mallory.slash(channel, "forget", handle="robin", block=True)
    assert "robin" in private(await house.member.slash(house.channel, "models list"))
    assert "no model" in private(await mallory.slash(channel, "models list"))
    assert not house.service.permits.is_blocked(house.guild.id, "robin")


async def test_forget_takes_no_nonsense_and_pings_nobody(house: House) -> None:
    assert "like @nasa" in private(await house.manager.slash(house.channel, "forget", handle="@everyone *x*"))
    receipt = private(await house.manager.slash(house.channel, "forget", handle="under_score_"))
    assert "under\\_score\\_" in receipt


async def test_the_receipt_of_many_models_is_whole(house: House) -> None:
    for number in range(30):
        await house.shelve(f"voice {number} " + "_" * 60)
    receipt = private(await house.manager.slash(house.channel, "forget", handle="robin"))
    assert len(receipt) <= 2000
    assert "not blocked" in receipt


async def test_the_log_channel_hears_of_it_without_the_name(house: House) -> None:
    log = house.guild.create_text_channel("log")
    await house.service.settings.change(house.guild.id, log_channel=log.id)
    await house.manager.slash(house.channel, "forget", handle="robin")
    told = house.said(channel=log)[-1].content
    assert "receipt" in told
    assert "robin" not in told


async def test_mydata_hands_over_what_is_held_and_deletes_it(house: House) -> None:
    await house.trained()
    shown = await house.manager.slash(house.channel, "mydata")
    assert "asked for: 1." in private(shown)
    [file] = shown.response.attachments
    held = json.loads(await file.read())
    assert held["user_id"] == str(house.manager.id)
    assert [job["accounts"] for job in held["trainings"]] == [["robin"]]
    assert labels(shown.response) == ["Delete it"]
    assert "Done" in private(await house.manager.click(shown.response, label="Delete it"))
    again = await house.manager.slash(house.channel, "mydata")
    assert "asked for: 0." in private(again)
    assert labels(again.response) == []
    assert house.service.library.visible(house.caller)


async def test_mydata_is_about_who_asks_and_works_in_direct_messages(house: House) -> None:
    await house.trained()
    shown = await house.member.user.slash("mydata")
    assert "asked for: 0." in shown.response.content
    held = json.loads(await shown.response.attachments[0].read())
    assert held["trainings"] == []


async def test_mydata_deletion_cancels_what_is_under_way_and_nobody_is_mentioned(house: House) -> None:
    house.orders.give("fit-waits")
    await house.train(handles="@robin")
    await house.until(lambda: house.message("loss"), each_s=30)
    shown = await house.manager.slash(house.channel, "mydata")
    done = await house.manager.click(shown.response, label="Delete it")
    await house.until(lambda: text(done))
    assert (await house.service.registry.job(1)).state == JobState.CANCELLED
    assert (await house.service.registry.job(1)).user_id == 0
    await house.pass_time()
    assert house.message("is cancelled")


async def test_who_does_not_manage_the_server_has_to_prove_that_the_account_is_theirs(
    sky: FakeBluesky, house: House
) -> None:
    guild, channel, mallory = house.other_guild()
    for server in (house.guild.id, guild.id, HOUSE):
        await house.shelve("robin", handles=("robin.bsky.social",), server_id=server)
    told = private(await house.member.slash(house.channel, "forget", handle="@robin.bsky.social", block=True))
    code = re.search(r"mockingbird-[0-9a-f]{8}", told)
    assert code and "bio on Bluesky" in told
    listed = text(await house.member.slash(house.channel, "models list"))
    assert "robin" in listed
    sky.accounts[0].bio = f"It is me: {code[0]}"
    result = await house.member.slash(house.channel, "forget", handle="@robin.bsky.social", block=True)
    await house.until(lambda: text(result))
    receipt = private(result)
    assert receipt.count("robin v1") == 3
    assert "What all servers had of @robin.bsky.social is removed" in receipt.replace("\u200b", "")
    assert "no model" in private(await mallory.slash(channel, "models list"))
    refused = private(await mallory.slash(channel, "train", handles="robin.bsky.social", ground="consent"))
    assert "may not be learned" in refused


async def test_a_handle_on_x_cannot_be_proven_while_its_api_is_off(house: House) -> None:
    await house.shelve("robin")
    told = private(await house.member.slash(house.channel, "forget", handle="robin"))
    assert "somebody who manages the server" in told
    assert "robin" in text(await house.member.slash(house.channel, "models list"))
