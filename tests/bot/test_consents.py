"""Who asked for an account to be learned, when, and on what ground: kept with each job, shown, and forgotten."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from bot.forgetting import data_about, forget, forget_member
from bot.jobs import _as_learned
from bot.service import Service
from models.records import AccountSource
from tests.bot.quick import MANAGER, MEMBER, NEIGHBOUR, end_of, plan, posts_of, train
from tests.fakes.bluesky import FakeBluesky
from tests.fakes.children.orders import Orders
from tests.models.made import made_counts


async def test_each_account_is_entered_with_who_asked_when_and_on_what_ground(
    service: Service, orders: Orders, tmp_path: Path
) -> None:
    orders.give("collect-waits")
    files = [posts_of(tmp_path, "robin"), posts_of(tmp_path, "wren")]
    job = await train(service, MEMBER, *files, handles=["Robin", "wren"], ground="consent")
    consents = await service.registry.consents(job_id=job.id)
    assert [(c.handle, c.source, c.ground, c.is_proven, c.user_id) for c in consents] == [
        ("Robin", "table", "consent", False, 7),
        ("wren", "table", "consent", False, 7),
    ]
    for consent in consents:
        assert timedelta(0) <= datetime.now(UTC) - consent.asked_at < timedelta(minutes=1)


async def test_a_planned_training_that_was_not_started_has_no_consent(service: Service, tmp_path: Path) -> None:
    await plan(service, MEMBER, posts_of(tmp_path), handles=["robin"])
    assert await service.registry.consents(user_id=MEMBER.user_id) == []


async def test_an_account_that_only_the_file_names_is_entered_once_that_is_known(
    service: Service, orders: Orders, tmp_path: Path
) -> None:
    orders.give("collect-waits")
    job = await train(service, MEMBER, posts_of(tmp_path))
    assert await service.registry.consents(job_id=job.id) == []
    orders.revoke("collect-waits")
    await end_of(service, job.id)
    (consent,) = await service.registry.consents(job_id=job.id)
    assert (consent.handle, consent.ground) == ("robin", "public_domain")


async def test_one_handle_in_several_spellings_is_entered_once(service: Service, tmp_path: Path) -> None:
    job = await train(service, MEMBER, posts_of(tmp_path, "Robin"), handles=["rObIn"])
    await end_of(service, job.id)
    assert len(await service.registry.consents(job_id=job.id)) == 1


async def test_an_account_that_has_another_handle_now_is_learned_and_entered_under_both(
    service: Service, sky: FakeBluesky
) -> None:
    sky.handles["old.bsky.social"] = sky.accounts[0].did
    job = await end_of(service, (await train(service, MEMBER, handles=["old.bsky.social"], ground="public_figure")).id)
    assert job.version, job.error
    consents = await service.registry.consents(job_id=job.id)
    assert [(c.handle, c.source) for c in consents] == [
        ("old.bsky.social", "bluesky"),
        ("robin.bsky.social", "bluesky"),
    ]


def test_accounts_are_found_by_handle_first_then_by_source() -> None:
    asked = [
        AccountSource(source="archive", ground="own_archive"),
        AccountSource(source="mastodon", handle="finch@birds.example", ground="consent"),
        AccountSource(source="table", handle="Wren", ground="consent"),
    ]
    counts = [
        msgspec.structs.replace(made_counts(handle), source=source)
        for handle, source in (("robin", "archive"), ("finch@nest.example", "mastodon"), ("wren", "table"))
    ]
    assert {a.handle: a.source for a in _as_learned(asked, counts)} == {
        "robin": "archive",
        "finch@nest.example": "mastodon",
        "wren": "table",
    }


async def test_a_retry_is_entered_too_for_who_asked_for_it(service: Service, orders: Orders, tmp_path: Path) -> None:
    orders.give("fit-fails", "no")
    old = await end_of(service, (await train(service, MEMBER, posts_of(tmp_path), handles=["robin"])).id)
    again = await service.retry(NEIGHBOUR, old.id)
    consents = await service.registry.consents(job_id=again.id)
    assert [(c.handle, c.ground, c.user_id) for c in consents] == [("robin", "public_domain", NEIGHBOUR.user_id)]
    assert len(await service.registry.consents(job_id=old.id)) == 1
    await end_of(service, again.id)


async def test_mydata_shows_what_the_member_said_and_nobody_else(service: Service, tmp_path: Path) -> None:
    mine = await end_of(service, (await train(service, MEMBER, posts_of(tmp_path, "robin"), ground="consent")).id)
    await end_of(service, (await train(service, NEIGHBOUR, posts_of(tmp_path, "wren"))).id)
    content, count = await data_about(service, MEMBER.user_id)
    held = json.loads(content)
    assert count == 1 and b"wren" not in content
    (entry,) = held["grounds"]
    assert datetime.fromisoformat(entry.pop("asked_at")).tzinfo
    assert entry == {"job": mine.id, "account": "robin", "source": "table", "ground": "consent", "proven": False}


async def test_a_member_who_is_forgotten_is_in_no_consent_and_has_no_code(service: Service, tmp_path: Path) -> None:
    job = await end_of(service, (await train(service, MEMBER, posts_of(tmp_path))).id)
    code, _ = await service.registry.proof_code(MEMBER.user_id, "robin")
    await service.registry.proof_code(NEIGHBOUR.user_id, "robin")
    await forget_member(service, MEMBER.user_id)
    (consent,) = await service.registry.consents(job_id=job.id)
    assert (consent.handle, consent.ground, consent.user_id) == ("robin", "public_domain", 0)
    assert json.loads((await data_about(service, MEMBER.user_id))[0])["grounds"] == []
    assert (await service.registry.proof_code(MEMBER.user_id, "robin"))[0] != code
    assert not (await service.registry.proof_code(NEIGHBOUR.user_id, "robin"))[1]


async def test_an_account_that_is_forgotten_is_in_no_consent(service: Service, tmp_path: Path) -> None:
    files = [posts_of(tmp_path, "robin"), posts_of(tmp_path, "wren")]
    pair = await end_of(service, (await train(service, MEMBER, *files, handles=["robin", "wren"])).id)
    other = await end_of(service, (await train(service, MEMBER, files[1], handles=["wren"])).id)
    await forget(service, MANAGER, "robin", block=False)
    assert await service.registry.consents(job_id=pair.id) == []
    assert [c.handle for c in await service.registry.consents(job_id=other.id)] == ["wren"]
