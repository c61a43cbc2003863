"""Pulls from X's API: whole under old and new names, and nothing bought twice."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

import tests.fakes.x_answers as say
from models.records import Post
from models.source_errors import AccountNotFound, SourceDown
from tests.fakes.internet import FakeInternet
from tests.fakes.x_api import FakePost, FakeX, many_posts
from tests.trainer.sources.conftest import OpenAccess, pull_from_x
from trainer.sources.x_api import XApi


async def test_a_profile_is_as_x_spells_it(x: FakeX, open_access: OpenAccess) -> None:
    x.add_user("NASA", name="NASA 🚀", bio="Exploring &amp; more.", posts=many_posts(3))
    async with open_access() as access:
        profile = await XApi(access).profile("@nasa")
    assert (profile.handle, profile.name, profile.bio) == ("NASA", "NASA 🚀", "Exploring &amp; more.")
    assert (profile.posts, profile.opted_out) == (3, None)


async def test_a_profile_is_bought_once(x: FakeX, open_access: OpenAccess) -> None:
    x.add_user("nasa", posts=many_posts(3))
    await pull_from_x(open_access)
    await pull_from_x(open_access)
    assert x.billed_users == 1


@pytest.mark.parametrize("tag", ["#noai", "#NoBot"])
async def test_a_bio_can_say_no(x: FakeX, open_access: OpenAccess, tag: str) -> None:
    x.add_user("nasa", bio=f"Space. {tag}", posts=many_posts(3))
    async with open_access() as access:
        profile = await XApi(access).profile("nasa")
    assert profile.opted_out == f"Its bio says {tag}."


@pytest.mark.parametrize("handle", ["sixteen_letters_", "a-b", "", "a/b", "ナサ", "../../x", "x\n", None])
async def test_what_can_be_no_handle_is_never_asked_for(
    x: FakeX, net: FakeInternet, open_access: OpenAccess, handle: str | None
) -> None:
    async with open_access() as access:
        with pytest.raises(AccountNotFound):
            await XApi(access).profile(handle)
    assert net.asked == []


async def test_posts_carry_all_that_cleaning_needs(x: FakeX, open_access: OpenAccess) -> None:
    x.add_user(
        "nasa",
        posts=[
            FakePost(
                id=11,
                text="Look &amp; see https://t.co/abc",
                created_at=datetime(2026, 10, 5, 19, 0, 46, tzinfo=UTC),
                urls=("https://t.co/abc",),
                lang="en",
            ),
            FakePost(id=12, text="RT @esa: Launch…", retweet_of=7),
            FakePost(id=13, text="@esa Thanks!", reply_to=9, reply_to_user=44, mentions={"esa": 44, "jaxa": 45}),
        ],
    )
    reply, retweet, first = await pull_from_x(open_access)
    assert first == Post(
        id="11",
        text="Look &amp; see https://t.co/abc",
        created_at=datetime(2026, 10, 5, 19, 0, 46, tzinfo=UTC),
        links=("https://t.co/abc",),
        lang="en",
    )
    assert retweet.is_retweet and not first.is_retweet
    assert (reply.reply_to_id, reply.reply_to_handle) == ("9", "esa")


@pytest.mark.parametrize("knows", ["both", "old", "new", "specified"])
async def test_old_and_new_names_give_the_same_posts(
    x: FakeX, open_access: OpenAccess, knows: str, caplog: pytest.LogCaptureFixture
) -> None:
    x.knows = knows  # type: ignore[assignment]
    x.add_user(
        "nasa",
        posts=[
            *many_posts(250),
            FakePost(
                id=10**18,
                text="It begins…",
                note="It begins, and goes on https://t.co/n",
                note_urls=("https://t.co/n",),
            ),
            FakePost(text="A boost", retweet_of=7),
            FakePost(text="@esa Yes", reply_to=9, reply_to_user=44, mentions={"esa": 44}),
        ],
    )
    posts = await pull_from_x(open_access)
    assert len(posts) == 253
    assert (posts[0].reply_to_id, posts[1].is_retweet) == ("9", True)
    assert (posts[2].text, posts[2].links) == ("It begins, and goes on https://t.co/n", ("https://t.co/n",))
    assert set(x.delivered.values()) == {1}
    assert len(x.queries) == 3 + {"both": 0, "old": 0, "new": 1, "specified": 2}[knows], "each refused name once"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_expansions_that_would_be_billed_are_not_asked_for(x: FakeX, open_access: OpenAccess) -> None:
    x.add_user("nasa", posts=many_posts(3))
    await pull_from_x(open_access)
    assert not any("expansions" in query for query in x.queries)


async def test_x_shows_3200_posts_and_32_pages_are_asked_for(x: FakeX, open_access: OpenAccess) -> None:
    x.add_user("nasa", posts=many_posts(3500))
    posts = await pull_from_x(open_access, max_posts=3200)
    assert len(posts) == len({post.id for post in posts}) == 3200
    assert len(x.queries) == 32
    assert x.billed_posts == 3200


@pytest.mark.parametrize(("most", "sizes"), [(150, [100, 50]), (103, [100, 5]), (100, [100])])
async def test_no_more_is_bought_than_was_set(x: FakeX, open_access: OpenAccess, most: int, sizes: list[int]) -> None:
    x.add_user("nasa", posts=many_posts(400))
    assert len(await pull_from_x(open_access, max_posts=most)) == most
    assert [int(query["max_results"]) for query in x.queries] == sizes


async def test_short_and_empty_pages_are_not_the_end(x: FakeX, open_access: OpenAccess) -> None:
    x.page_sizes = [2, 0, 0, 7]
    x.add_user("nasa", posts=many_posts(120))
    posts = await pull_from_x(open_access)
    assert [post.text for post in posts] == many_posts(120)[::-1]


async def test_empty_pages_without_end_are_the_end(x: FakeX, open_access: OpenAccess) -> None:
    x.page_sizes = [0] * 1000
    x.add_user("nasa", posts=many_posts(120))
    assert await pull_from_x(open_access) == []
    assert len(x.queries) == 10


async def test_an_account_without_posts_gives_none(x: FakeX, open_access: OpenAccess) -> None:
    x.add_user("nasa")
    assert await pull_from_x(open_access) == []


async def test_only_what_is_newer_is_bought(x: FakeX, open_access: OpenAccess) -> None:
    x.add_user("nasa", posts=many_posts(150))
    newest = (await pull_from_x(open_access))[0].id
    x.add_posts("nasa", ["Something new.", "Something newer."])
    x.delivered.clear()
    posts = await pull_from_x(open_access, since=newest, pages="another-job")
    assert [post.text for post in posts] == ["Something newer.", "Something new."]
    assert x.billed_posts == 2


async def test_an_id_that_x_never_gave_is_no_since(x: FakeX, open_access: OpenAccess) -> None:
    x.add_user("nasa", posts=many_posts(3))
    assert len(await pull_from_x(open_access, since="tweets.js#1")) == 3


async def test_a_pull_killed_between_pages_buys_no_post_twice(x: FakeX, open_access: OpenAccess) -> None:
    x.add_user("nasa", posts=many_posts(450))
    x.fail(say.SERVER_ERROR, after=4, times=4)  # the profile, three pages, then nothing for all tries
    with pytest.raises(SourceDown):
        await pull_from_x(open_access)
    assert x.billed_posts == 300
    assert [post.text for post in await pull_from_x(open_access)] == many_posts(450)[::-1]
    assert set(x.delivered.values()) == {1}
    assert x.billed_users == 1


@pytest.mark.parametrize("killed_after", [1, 99, 100, 101, 250])
async def test_a_pull_killed_in_a_page_buys_no_post_twice(x: FakeX, open_access: OpenAccess, killed_after: int) -> None:
    x.add_user("nasa", posts=many_posts(350))
    async with open_access() as access:
        posts = XApi(access).posts("nasa")
        for _ in range(killed_after):
            await anext(posts)
        await posts.aclose()  # type: ignore[attr-defined]
    assert len(await pull_from_x(open_access)) == 350
    assert set(x.delivered.values()) == {1}


@pytest.mark.parametrize("knows", ["both", "new"])
async def test_a_resumed_pull_goes_on_when_its_token_is_too_old(x: FakeX, open_access: OpenAccess, knows: str) -> None:
    x.knows = knows  # type: ignore[assignment]
    x.add_user("nasa", posts=many_posts(550))
    for _ in range(2):  # killed twice, after two pages each time
        async with open_access() as access:
            posts = XApi(access).posts("nasa")
            pages = len({query.get("pagination_token") or query.get("until_id") for query in x.queries})
            for _ in range(100 * (pages + 1) + 50):
                await anext(posts)
            await posts.aclose()  # type: ignore[attr-defined]
        x.expire_tokens()
    assert [post.text for post in await pull_from_x(open_access)] == many_posts(550)[::-1]
    assert set(x.delivered.values()) == {1}
    last = x.queries[-1]
    assert "until_id" in last and "pagination_token" in last, "a token continues the very question that gave it"


async def test_x_is_asked_at_its_present_host_only(x: FakeX, net: FakeInternet, open_access: OpenAccess) -> None:
    x.add_user("nasa", posts=many_posts(3))
    await pull_from_x(open_access)
    assert {asked.host for asked in net.asked} == {"api.x.com"}
