"""Mastodon by handle: over real https to a stand-in, from webfinger to the last page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web as aioweb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.errors import NothingGiven
from models.records import Post, Profile
from models.source_errors import (
    AccountNotFound,
    AccountSuspended,
    LoginNeeded,
    RateLimited,
    ServerClosed,
    SourceDown,
    SourceError,
)
from tests.fakes.internet import FakeInternet
from tests.fakes.mastodon import Failure, FakeMastodon, finger_of, link, mention
from tests.trainer.sources.conftest import OpenAccess
from trainer.clean import clean_text
from trainer.sources.mastodon import Mastodon

HANDLE = "robin@toots.test"


@pytest.fixture
async def server(net: FakeInternet) -> FakeMastodon:
    return FakeMastodon(net=net)


async def profile_of(open_access: OpenAccess, handle: str | None = HANDLE, **options: Any) -> Profile:
    async with open_access(**options) as access:
        return await Mastodon(access).profile(handle)


async def posts_of(open_access: OpenAccess, since: str | None = None, **options: Any) -> list[Post]:
    async with open_access(**options) as access:
        return [post async for post in Mastodon(access).posts(HANDLE, since)]


async def test_a_profile_is_what_the_account_s_own_server_says(server: FakeMastodon, open_access: OpenAccess) -> None:
    account = server.add_account(
        "Robin",
        display_name="Robin :bird: Redbreast",
        note="<p>Sings at dawn.<br>Proof: mockingbird-1234</p>",
        fields=[{"name": "Tree", "value": "<b>oak</b>"}],
        emojis=[{"shortcode": "bird", "url": "https://toots.test/bird.png"}],
    )
    server.post(account, "<p>tweet</p>")
    profile = await profile_of(open_access, "@robin@TOOTS.test")
    assert profile == Profile(
        handle="Robin@toots.test",
        name="Robin Redbreast",
        bio="Sings at dawn.\nProof: mockingbird-1234\nTree: oak",
        posts=1,
    )


async def test_a_handle_whose_domain_is_not_its_server_s_is_found(net: FakeInternet, open_access: OpenAccess) -> None:
    server = FakeMastodon(net=net, domain="toots.test", home="social.toots.test")
    account = server.add_account("robin")
    server.post(account, "<p>hello</p>")
    assert (await profile_of(open_access)).handle == HANDLE
    assert [post.text for post in await posts_of(open_access)] == ["hello"]
    assert not [path for path in net.asked_of("toots.test") if path.startswith("/api")]
    assert (await profile_of(open_access, "robin@social.toots.test")).handle == HANDLE


async def test_a_webfinger_that_redirects_to_the_server_is_followed(net: FakeInternet, open_access: OpenAccess) -> None:
    server = FakeMastodon(net=net, domain="toots.test", home="social.toots.test")
    server.add_account("robin")

    async def redirect(request: aioweb.Request) -> aioweb.StreamResponse:
        raise aioweb.HTTPMovedPermanently(f"https://social.toots.test{request.path_qs}")

    net.serve("toots.test", redirect)
    assert (await profile_of(open_access)).handle == HANDLE


async def test_an_alias_on_a_domain_of_one_s_own_leads_to_the_true_handle(
    server: FakeMastodon, net: FakeInternet, open_access: OpenAccess
) -> None:
    server.add_account("robin")
    alias = FakeMastodon(net=net, domain="robin.test")
    alias.fingers["me@robin.test"] = finger_of(HANDLE, "toots.test")
    assert (await profile_of(open_access, "me@robin.test")).handle == HANDLE
    # One that calls itself a handle of its own domain is still known by the server's name for it.
    alias.fingers["robin@robin.test"] = finger_of("robin@robin.test", "toots.test")
    assert (await profile_of(open_access, "robin@robin.test")).handle == HANDLE


async def test_no_server_can_lend_itself_another_s_handle(
    server: FakeMastodon, net: FakeInternet, open_access: OpenAccess
) -> None:
    server.add_account("robin")
    false = FakeMastodon(net=net, domain="false.test")
    false.add_account("robin", note="mockingbird-1234")
    false.fingers["robin@false.test"] = finger_of(HANDLE, "false.test")
    profile = await profile_of(open_access, "robin@false.test")
    assert (profile.handle, profile.bio) == (HANDLE, "")
    false.fingers["robin@false.test"] = finger_of("robin@false.test", "other.test")
    FakeMastodon(net=net, domain="other.test").fingers["robin@other.test"] = finger_of(HANDLE, "other.test")
    with pytest.raises(SourceDown, match="don't agree"):
        await profile_of(open_access, "robin@false.test")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"indexable": False}, "It has not allowed that its public posts are found by searching (indexable)."),
        ({"indexable": None, "noindex": None}, "It has not allowed that its public posts are found by searching"),
        ({"noindex": True}, "It asks search engines to leave it out (noindex)."),
        ({"memorial": True}, "The account is kept in memory of somebody who has died."),
        ({"note": '<p>I sing <a class="mention hashtag">#<span>nobot</span></a></p>'}, "Its profile says #nobot."),
        ({"fields": [{"name": "AI", "value": "#NoAI"}]}, "Its profile says #NoAI."),
        ({"display_name": "Robin #nobot"}, "Its profile says #nobot."),
    ],
)
async def test_each_way_to_say_no_has_its_own_reason(
    server: FakeMastodon, open_access: OpenAccess, fields: dict[str, Any], reason: str
) -> None:
    server.add_account("robin", **fields)
    profile = await profile_of(open_access)
    assert profile.opted_out is not None
    assert profile.opted_out.startswith(reason)


async def test_an_older_server_that_knows_no_indexable_is_believed_its_noindex(
    server: FakeMastodon, open_access: OpenAccess
) -> None:
    del server.add_account("robin", noindex=False, locked=True)["indexable"]
    assert (await profile_of(open_access)).opted_out is None


@pytest.mark.parametrize("closed", ["toots.test", "Social.Toots.test"])
async def test_a_server_whose_terms_forbid_it_is_closed_by_either_of_its_names(
    net: FakeInternet, open_access: OpenAccess, closed: str
) -> None:
    server = FakeMastodon(net=net, domain="toots.test", home="social.toots.test")
    server.add_account("robin")
    assert (await profile_of(open_access, closed_servers=(closed,))).name  # its owner may be looked for
    with pytest.raises(ServerClosed, match=f"the terms of {closed.lower()} forbid"):
        await posts_of(open_access, closed_servers=(closed,))
    assert server.asked["statuses"] == 0


async def test_an_owner_who_says_no_is_heard_by_the_next_try_too(server: FakeMastodon, open_access: OpenAccess) -> None:
    account = server.add_account("robin")
    assert (await profile_of(open_access)).opted_out is None
    account["indexable"] = False
    assert (await profile_of(open_access)).opted_out is not None


@pytest.mark.parametrize(
    ("kind", "status", "error", "sentence"),
    [
        ("webfinger", 404, AccountNotFound, "There is no account @robin@toots.test on toots.test."),
        ("webfinger", 400, AccountNotFound, "There is no account @robin@toots.test on toots.test."),
        ("webfinger", 410, AccountSuspended, "@robin@toots.test is suspended or deactivated on toots.test."),
        ("webfinger", 403, SourceDown, "toots.test can't be reached (it answers with error 403)"),
        ("lookup", 404, AccountNotFound, "There is no account @robin@toots.test on toots.test."),
        ("lookup", 401, LoginNeeded, "toots.test shows posts only to people who are logged in there"),
        ("lookup", 410, AccountSuspended, "@robin@toots.test is suspended or deactivated on toots.test."),
        ("statuses", 401, LoginNeeded, "toots.test shows posts only to people who are logged in there"),
        ("statuses", 403, LoginNeeded, "toots.test shows posts only to people who are logged in there"),
        ("statuses", 422, SourceDown, "toots.test can't be reached (it answers with error 422)"),
    ],
)
async def test_each_refusal_has_its_own_sentence(
    server: FakeMastodon, open_access: OpenAccess, kind: str, status: int, error: type[SourceError], sentence: str
) -> None:
    server.add_account("robin")
    server.failures[kind] = [Failure(status=status, body={"error": "@everyone <script>" * 1000})]
    with pytest.raises(error) as caught:
        await posts_of(open_access)
    assert str(caught.value).startswith(sentence)
    assert "everyone" not in str(caught.value)


@pytest.mark.parametrize("field", ["suspended", "limited"])
async def test_an_account_that_its_server_has_put_away_is_suspended(
    server: FakeMastodon, open_access: OpenAccess, field: str
) -> None:
    server.add_account("robin", **{field: True})
    with pytest.raises(AccountSuspended):
        await profile_of(open_access)


@pytest.mark.parametrize(
    "handle", ["robin", "robin@", "@toots.test", "a b@toots.test", "robin@toots", "x@a/b.c", "a@b@c.d"]
)
async def test_what_is_no_handle_is_not_found_and_nobody_is_asked(
    net: FakeInternet, open_access: OpenAccess, handle: str
) -> None:
    with pytest.raises(AccountNotFound):
        await profile_of(open_access, handle)
    assert not net.asked


async def test_a_source_that_asks_servers_needs_a_handle(open_access: OpenAccess) -> None:
    with pytest.raises(NothingGiven):
        await profile_of(open_access, None)


@pytest.mark.parametrize("host", ["10.0.0.1", "localhost", "toots.test:8443"])
async def test_a_webfinger_can_t_send_the_bot_to_an_inner_address(
    server: FakeMastodon, net: FakeInternet, open_access: OpenAccess, host: str
) -> None:
    server.fingers[HANDLE] = finger_of(HANDLE, host)
    with pytest.raises(SourceError):
        await profile_of(open_access)
    assert {asked.host for asked in net.asked} <= {"toots.test", "localhost"}
    assert not [asked for asked in net.asked if asked.path.startswith("/api")]


async def test_posts_come_newest_first_page_by_page(server: FakeMastodon, open_access: OpenAccess) -> None:
    account = server.add_account("robin")
    for number in range(95):
        server.post(account, f"<p>song {number}</p>")
    posts = await posts_of(open_access)
    assert [post.text for post in posts] == [f"song {number}" for number in reversed(range(95))]
    assert server.asked["statuses"] == 3
    newest = server.statuses[account["id"]][-1]
    assert posts[0] == Post(
        id=newest["id"],
        text="song 94",
        is_escaped=False,
        created_at=datetime.fromisoformat(newest["created_at"]),
        lang="en",
    )


async def test_no_more_posts_are_asked_for_than_are_kept(server: FakeMastodon, open_access: OpenAccess) -> None:
    account = server.add_account("robin")
    for number in range(150):
        server.post(account, f"<p>song {number}</p>")
    assert len(await posts_of(open_access, max_posts=100)) == 100
    assert server.asked["statuses"] == 3


async def test_only_what_is_newer_than_the_held_posts_comes(server: FakeMastodon, open_access: OpenAccess) -> None:
    account = server.add_account("robin")
    for number in range(60):
        server.post(account, f"<p>song {number}</p>")
    held = server.statuses[account["id"]][9]["id"]
    assert [post.text for post in await posts_of(open_access, held)] == [f"song {n}" for n in range(59, 9, -1)]
    # An id that no server of this kind gives out, as other software's archives have: all come.
    assert len(await posts_of(open_access, "https://far.test/objects/1 2", pages="other")) == 60


async def test_private_posts_never_come_out_nor_to_disk(server: FakeMastodon, open_access: OpenAccess) -> None:
    server.leaks = True
    account = server.add_account("robin")
    for number in range(41):
        for visibility in ("public", "unlisted", "private", "direct", None):
            server.post(account, f"<p>{visibility} {number}</p>", visibility=visibility)
    async with open_access() as access:
        posts = [post async for post in Mastodon(access).posts(HANDLE)]
        kept = [answer async for answer in access.pages.walk(None)]  # type: ignore[arg-type]
    assert [post.text for post in posts] == [f"public {number}" for number in reversed(range(41))]
    assert {status["visibility"] for page in kept for status in page} == {"public"}


async def test_a_resumed_pull_asks_for_no_page_twice(server: FakeMastodon, open_access: OpenAccess) -> None:
    account = server.add_account("robin")
    for number in range(95):
        server.post(account, f"<p>song {number}</p>")
    later = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    server.failures["statuses"] = [None, None, Failure(status=429, headers={"X-RateLimit-Reset": later})]
    came: list[Post] = []

    async def pull() -> AsyncIterator[Post]:
        async with open_access() as access:
            async for post in Mastodon(access).posts(HANDLE):
                yield post

    with pytest.raises(RateLimited) as caught:
        async for post in pull():
            came.append(post)
    assert len(came) == 80
    assert caught.value.until is not None
    assert [post async for post in pull()][:80] == came
    asked = [asked.query.get("max_id") for asked in server.net.asked if asked.path.endswith("/statuses")]
    assert len(asked) == 4
    assert asked[2] == asked[3]  # the page that was refused
    assert len([post async for post in pull()]) == 95
    assert server.asked["statuses"] == 4


async def test_a_boost_is_a_retweet_without_the_other_s_words(server: FakeMastodon, open_access: OpenAccess) -> None:
    robin, gull = server.add_account("robin"), server.add_account("gull")
    theirs = server.post(gull, "<p>words of somebody else</p>")
    server.post(robin, theirs["content"], reblog=theirs)
    (post,) = await posts_of(open_access)
    assert post.is_retweet
    assert post.text == theirs["url"]


async def test_replies_lose_their_automatic_mentions_and_threads_are_known(
    server: FakeMastodon, open_access: OpenAccess
) -> None:
    robin = server.add_account("robin")
    first = server.post(robin, "<p>One.</p>")
    server.post(robin, "<p>Two.</p>", in_reply_to_id=first["id"], in_reply_to_account_id=robin["id"])
    server.post(
        robin,
        f"<p>{mention('gull', 'far.test')} {mention('owl', 'toots.test')} I agree.</p>",
        in_reply_to_id="77",
        in_reply_to_account_id="5",
        mentions=[
            {"id": "4", "username": "owl", "acct": "owl", "url": "https://toots.test/@owl"},
            {"id": "5", "username": "gull", "acct": "gull@far.test", "url": "https://far.test/@gull"},
        ],
    )
    reply, second, _ = await posts_of(open_access)
    assert (second.reply_to_id, second.reply_to_handle) == (first["id"], None)
    assert (reply.reply_to_id, reply.reply_to_handle) == (None, "gull@far.test")
    assert reply.text == "@gull @owl I agree."
    assert clean_text(reply) == "I agree."


async def test_text_comes_without_addresses_pictures_or_escapes(server: FakeMastodon, open_access: OpenAccess) -> None:
    server.post(
        server.add_account("robin"),
        f"<p>R&amp;D &amp;amp; more :bird:<br>{link('https://example.org/some/long/way')}</p><p>:D</p>",
        emojis=[{"shortcode": "bird"}],
        spoiler_text="birds",
    )
    (post,) = await posts_of(open_access)
    assert post.text == "R&D &amp; more \n\n:D"
    assert clean_text(post) == "R&D &amp; more\n\n:D"


@pytest.mark.parametrize(
    "next_link",
    [
        '<https://evil.test/api/v1/accounts/1/statuses?max_id=1>; rel="next"',
        '<https://toots.test/api?max_id=../../x>; rel="next"',
        '<https://toots.test/api>; rel="next"',
        '<https://[::1/>; rel="next"',
    ],
)
async def test_a_next_page_elsewhere_is_not_asked_for(
    server: FakeMastodon, net: FakeInternet, open_access: OpenAccess, next_link: str
) -> None:
    server.add_account("robin")
    status = server.post(server.accounts["robin"], "<p>hello</p>")
    server.failures["statuses"] = [Failure(status=200, body=[status], headers={"Link": next_link})]
    with pytest.raises(SourceDown):
        await posts_of(open_access)
    assert not net.asked_of("evil.test")


async def test_a_server_that_never_ends_is_left(server: FakeMastodon, open_access: OpenAccess) -> None:
    account = server.add_account("robin")
    unlisted = server.post(account, "<p>x</p>", visibility="unlisted")
    server.failures["statuses"] = [
        Failure(status=200, body=[unlisted], headers={"Link": f'<https://toots.test/?max_id={n}>; rel="next"'})
        for n in range(100)
    ]
    assert await posts_of(open_access, max_posts=100) == []
    assert server.asked["statuses"] == 20


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("kind", ["webfinger", "lookup", "statuses"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_answer_is_posts_or_a_typed_error(
    server: FakeMastodon, open_access: OpenAccess, kind: str, data: st.DataObject
) -> None:
    account = server.accounts.get("robin") or server.add_account("robin")
    right = {
        "webfinger": finger_of(HANDLE, "toots.test"),
        "lookup": account,
        "statuses": {"id": "1", "visibility": "public", "content": "<p>x</p>", "mentions": [{}], "emojis": [{}]},
    }[kind]
    changes = data.draw(st.dictionaries(st.sampled_from(sorted({*right, "reblog", "uri"})), JSON, max_size=3))
    body: Any = {**right, **changes}
    if kind == "statuses":
        body = [body, data.draw(JSON)]
    server.failures[kind] = [Failure(status=200, body=data.draw(st.sampled_from([body]) | JSON))]
    try:
        posts = await posts_of(open_access, pages=data.draw(st.uuids()).hex)
    except SourceError:
        return
    for post in posts:
        post.text.encode()
