"""Whose account it is: a code in its bio shows it, for its owner's /train and for their /forget."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.config import Config
from bot.forgetting import forget
from bot.records import CONSOLE, JobState
from bot.service import Service
from models.errors import CantProve, NotAllowed, UserError
from models.source_errors import NotProven
from tests.bot.quick import MANAGER, MEMBER, NEIGHBOUR, STRANGER, end_of, entered_in, plan, serving, train
from tests.fakes.bluesky import FakeBluesky
from tests.fakes.children.orders import Orders
from tests.fakes.internet import FakeInternet
from tests.fakes.x_api import FakeX

ROBIN = "robin.bsky.social"


async def code_for(service: Service, caller: object = MEMBER, handle: str = ROBIN) -> str:
    """The code that the member is told to put into the account's bio."""
    with pytest.raises(NotProven) as caught:
        await service.owners.require_owner(caller, handle)  # type: ignore[arg-type]
    return caught.value.code


async def test_a_code_is_told_at_first_without_a_look_and_stays_the_same(
    service: Service, sky: FakeBluesky, net: FakeInternet
) -> None:
    with pytest.raises(NotProven) as caught:
        await service.owners.require_owner(MEMBER, f"@{ROBIN}")
    assert (caught.value.handle, caught.value.where) == (ROBIN, "Bluesky")
    assert re.fullmatch(r"mockingbird-[0-9a-f]{8}", caught.value.code)
    assert caught.value.code in str(caught.value) and net.asked == []
    assert await code_for(service) == await code_for(service, handle=ROBIN.upper()) == caught.value.code
    assert net.asked != []  # from then on the bio is read


async def test_each_member_and_each_account_has_a_code_of_its_own(service: Service, sky: FakeBluesky) -> None:
    codes = [await code_for(service, who, handle) for who in (MEMBER, NEIGHBOUR) for handle in (ROBIN, "wren.example")]
    assert len(set(codes)) == 4
    sky.accounts[0].bio = codes[2]  # another member's
    assert await code_for(service) == codes[0]


async def test_a_code_in_the_bio_proves_it_once(service: Service, sky: FakeBluesky) -> None:
    code = await code_for(service)
    sky.accounts[0].bio = f"I sing. {code.upper()}, they say"
    await service.owners.require_owner(MEMBER, ROBIN)
    assert await code_for(service) != code
    assert list(service.data.path.glob("look-*")) == []


async def test_a_code_is_another_one_after_a_day(service: Service, sky: FakeBluesky) -> None:
    code = await code_for(service)
    for age, is_same in ((timedelta(hours=23), True), (timedelta(hours=25), False)):
        at = (datetime.now(UTC) - age).isoformat(timespec="seconds")
        await service.registry._write("UPDATE proofs SET created_at = ?", at)
        assert (await code_for(service) == code) == is_same


async def test_an_account_that_cannot_be_seen_is_told_in_the_platforms_words(
    service: Service, sky: FakeBluesky, orders: Orders
) -> None:
    await code_for(service, handle="nobody.bsky.social")
    with pytest.raises(UserError, match=r"no account @nobody\.bsky\.social on Bluesky"):
        await service.owners.require_owner(MEMBER, "nobody.bsky.social")
    await code_for(service)
    orders.give("look-breaks", "secret words of a bug")
    with pytest.raises(UserError, match=r"can't see that profile now"):
        await service.owners.require_owner(MEMBER, ROBIN)


async def test_a_handle_on_x_is_proven_by_its_api_and_not_without_it(
    service: Service, priced: Config, orders: Orders, x: FakeX
) -> None:
    with pytest.raises(CantProve):
        await service.owners.require_owner(MEMBER, "robin")
    service.owners._config = priced
    code = await code_for(service, handle="robin")
    x.users["robin"].bio = code
    await service.owners.require_owner(MEMBER, "@Robin")
    assert (x.billed_users, x.billed_posts) == (1, 0)


# --- what a proof is for ----------------------------------------------------------------------------------------------


async def test_ones_own_account_is_trained_once_it_is_proven(service: Service, sky: FakeBluesky) -> None:
    with pytest.raises(NotProven) as caught:
        await plan(service, MEMBER, handles=[ROBIN], ground="own_account")
    assert await service.jobs(MEMBER) == []
    sky.accounts[0].bio = f"#NoAI {caught.value.code}"  # no to all but its owner
    job = await train(service, MEMBER, handles=[ROBIN], ground="own_account")
    ended = await end_of(service, job.id)
    assert ended.state == JobState.DONE, ended.error
    (consent,) = await service.registry.consents(job_id=job.id)
    assert (consent.handle, consent.ground, consent.is_proven) == (ROBIN, "own_account", True)


async def test_an_account_that_says_no_is_not_learned_on_another_ground(service: Service, sky: FakeBluesky) -> None:
    sky.accounts[0].bio = "I write. #NoAI"
    ended = await end_of(service, (await train(service, MEMBER, handles=[ROBIN], ground="public_figure")).id)
    assert ended.state == JobState.FAILED and "#noai" in (ended.error or "").lower()
    assert sky.asked("morel.us-east.host.bsky.network", "listRecords", "app.bsky.feed.post") == 0


async def test_a_proven_forget_reaches_all_servers_and_blocks_everywhere(service: Service, sky: FakeBluesky) -> None:
    for caller in (MEMBER, STRANGER, CONSOLE):
        await entered_in(service, "robin", caller=caller, handles=[ROBIN])
    await entered_in(service, "wren", handles=["wren.example"])
    sky.accounts[0].bio = await code_for(service)
    receipt = await forget(service, MEMBER, ROBIN, block=True)
    assert (receipt.everywhere, receipt.is_blocked, len(receipt.models), receipt.jobs) == (True, True, 3, 3)
    assert [model.name for model in service.library.visible(CONSOLE)] == ["wren"]
    for caller in (MEMBER, STRANGER, CONSOLE):
        with pytest.raises(NotAllowed):
            await plan(service, caller, handles=[ROBIN])
    with pytest.raises(NotProven):  # the code has served
        await forget(service, MEMBER, ROBIN, block=False)


async def test_who_manages_a_server_forgets_there_without_a_proof(service: Service) -> None:
    for caller in (MEMBER, STRANGER):
        await entered_in(service, "robin", caller=caller, handles=[ROBIN])
    receipt = await forget(service, MANAGER, ROBIN, block=True)
    assert not receipt.everywhere and len(receipt.models) == 1
    assert [model.server_id for model in service.library.visible(CONSOLE)] == [STRANGER.server_id]


async def test_another_member_who_tries_a_proven_training_again_has_proved_nothing(
    service: Service, orders: Orders, sky: FakeBluesky
) -> None:
    with pytest.raises(NotProven) as caught:
        await plan(service, MEMBER, handles=[ROBIN], ground="own_account")
    sky.accounts[0].bio = caught.value.code
    orders.give("fit-fails", "no")
    failed = await end_of(service, (await train(service, MEMBER, handles=[ROBIN], ground="own_account")).id)
    again = await service.retry(replace(MANAGER, user_id=99), failed.id)
    (consent,) = await service.registry.consents(job_id=again.id)
    assert (consent.user_id, consent.is_proven) == (99, False)
    await end_of(service, again.id)


async def test_codes_outlive_a_restart(quick: Config, orders: Orders, sky: FakeBluesky) -> None:
    async with serving(quick, orders) as service:
        code = await code_for(service)
    async with serving(quick, orders) as service:
        sky.accounts[0].bio = code
        await service.owners.require_owner(MEMBER, ROBIN)


async def test_a_member_has_few_profiles_looked_at_an_hour(
    service: Service, sky: FakeBluesky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.owners.MAX_LOOKS", 2)
    for _ in range(2):  # the first one tells the code
        await code_for(service)
    with pytest.raises(NotAllowed, match="2 profiles an hour"):
        await service.owners.require_owner(MEMBER, ROBIN)
    await code_for(service, NEIGHBOUR)
    await code_for(service, NEIGHBOUR)


async def test_a_code_of_a_training_that_could_not_start_is_not_used_up(
    service: Service, sky: FakeBluesky, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = await code_for(service)
    sky.accounts[0].bio = code
    planned = await plan(service, MEMBER, handles=[ROBIN], ground="own_account")
    planned = await plan(service, MEMBER, handles=[ROBIN], ground="own_account")
    await end_of(service, (await service.start(MEMBER, planned)).id)
    assert await code_for(service) != code
