"""The Bluesky source: who an account is, what it refuses, and its posts as its own server keeps them."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp.web import json_response

from models.errors import NothingGiven, UserError
from models.records import Post, Profile
from models.source_errors import AccountNotFound, AccountSuspended, RateLimited, SourceDown, SourceError
from tests.fakes.bluesky import APP, DIRECTORY, POSTS, FakeAccount, FakeBluesky, facet, tid
from tests.fakes.internet import FakeInternet
from tests.trainer.sources.conftest import OpenAccess
from trainer.sources import web
from trainer.sources.bluesky import Bluesky

HANDLE = "wren.bsky.social"
OTHER = "did:plc:" + "b" * 24
LIST = "com.atproto.repo.listRecords"


@pytest.fixture
def bluesky(net: FakeInternet, monkeypatch: pytest.MonkeyPatch) -> FakeBluesky:
    monkeypatch.setattr(web, "RETRY_DELAYS_S", (0.0,))
    return FakeBluesky(net)


@pytest.fixture
def wren(bluesky: FakeBluesky) -> FakeAccount:
    return bluesky.add()


@pytest.fixture
def see(open_access: OpenAccess) -> Any:
    async def see(handle: str | None = HANDLE) -> Profile:
        async with open_access() as access:
            return await Bluesky(access).profile(handle)

    return see


@pytest.fixture
def pull(open_access: OpenAccess) -> Any:
    async def pull(since: str | None = None, **settings: Any) -> list[Post]:
        async with open_access(**settings) as access:
            return [post async for post in Bluesky(access).posts(HANDLE, since)]

    return pull


async def refusal(see: Any, handle: str = HANDLE) -> SourceError:
    with pytest.raises(SourceError) as caught:
        await see(handle)
    return caught.value


# Who it is


async def test_a_profile_has_name_bio_and_count(wren: FakeAccount, see: Any) -> None:
    wren.post("hello")
    wren.name = "Wren\nof the wood"
    assert await see("@Wren.bsky.social") == Profile(handle=HANDLE, name="Wren of the wood", bio="I post.", posts=1)


async def test_a_did_leads_to_the_handle(wren: FakeAccount, see: Any) -> None:
    assert (await see(wren.did)).handle == HANDLE


async def test_a_did_of_the_web_is_looked_up_at_its_own_host(bluesky: FakeBluesky, see: Any) -> None:
    bluesky.add("wren.example.org", "did:web:wren.example.org", "pds.example.org")
    for asked in ("wren.example.org", "did:web:wren.example.org"):
        assert (await see(asked)).handle == "wren.example.org"
    assert bluesky.net.asked_of("wren.example.org") == ["/.well-known/did.json"] * 2
    assert not bluesky.net.asked_of(DIRECTORY)


async def test_a_handle_that_moved_on_gives_the_new_one(bluesky: FakeBluesky, wren: FakeAccount, see: Any) -> None:
    bluesky.handles["old.example.org"] = wren.did
    assert (await see("old.example.org")).handle == HANDLE


async def test_a_document_can_not_lay_claim_to_anothers_handle(bluesky: FakeBluesky, see: Any) -> None:
    bluesky.add("nasa.gov")
    thief = bluesky.add("thief.example.org", OTHER)
    thief.document = {"alsoKnownAs": ["at://nasa.gov"]}
    for asked in ("thief.example.org", OTHER):
        assert isinstance(await refusal(see, asked), AccountNotFound)


@pytest.mark.parametrize(
    "handle",
    [
        "nobody.bsky.social",
        "nasa",
        "",
        "a b.c",
        "x" * 300 + ".com",
        "10.0.0.1",
        "wren.bsky.social/../x",
        "did:key:zQ3",
        "did:plc:" + "c" * 24,
        "did:web:localhost%3A80",
        "did:plc:short",
        "ｗren.bsky.social",
        "wren\ud800.bsky.social",
    ],
)
async def test_who_is_not_there_is_not_found(wren: FakeAccount, see: Any, handle: str) -> None:
    assert isinstance(await refusal(see, handle), AccountNotFound)


async def test_without_a_handle_there_is_nobody_to_ask_for(bluesky: FakeBluesky, see: Any) -> None:
    with pytest.raises(NothingGiven):
        await see(None)


# Who says no


@pytest.mark.parametrize(
    "error", ["AccountTakedown", "AccountDeactivated", "RepoTakendown", "RepoDeactivated", "RepoSuspended"]
)
@pytest.mark.parametrize("method", ["app.bsky.actor.getProfile", LIST])
async def test_a_closed_account_says_so(
    bluesky: FakeBluesky, wren: FakeAccount, see: Any, method: str, error: str
) -> None:
    bluesky.broken[method] = (400, {"error": error, "message": "gone"})
    assert str(await refusal(see)) == f"@{HANDLE} is suspended or deactivated on Bluesky."


@pytest.mark.parametrize("label", ["!hide", "!takedown", "!suspend"])
async def test_an_account_hidden_by_moderators_is_suspended(wren: FakeAccount, see: Any, label: str) -> None:
    wren.labels = [{"src": "did:plc:ar7c4by46qjdydhdevvrndac", "uri": wren.did, "val": label}]
    assert isinstance(await refusal(see), AccountSuspended)


async def test_a_repository_that_is_gone_is_not_found(bluesky: FakeBluesky, wren: FakeAccount, see: Any) -> None:
    bluesky.broken[LIST] = (400, {"error": "RepoNotFound", "message": "Could not find repo"})
    assert isinstance(await refusal(see), AccountNotFound)


async def test_an_account_for_the_signed_in_only_opts_out(wren: FakeAccount, see: Any) -> None:
    wren.labels = [{"src": wren.did, "uri": wren.did, "val": "!no-unauthenticated"}]
    assert (await see()).opted_out == "It shows itself only to people who are signed in (!no-unauthenticated)."


async def test_other_labels_and_withdrawn_ones_are_no_refusal(wren: FakeAccount, see: Any) -> None:
    wren.labels = [{"val": "bot"}, {"val": "!no-unauthenticated", "neg": True}, {"val": 7}, None]  # type: ignore[list-item]
    assert (await see()).opted_out is None


@pytest.mark.parametrize(
    "tag", "#NoAI #nobot #NoBots #no_ai #no-ai #noAItraining #no_gen_ai #NoLLM #noscraping".split()
)
@pytest.mark.parametrize("bio", ["{}", "Birds.\n{}, please", "they/them/{}#birds"])
async def test_a_bio_with_a_tag_against_ai_opts_out(wren: FakeAccount, see: Any, bio: str, tag: str) -> None:
    wren.bio = bio.format(tag)
    assert (await see()).opted_out == f"Its bio says {tag}."


@pytest.mark.parametrize("bio", ["no ai", "#nobody", "#noaiart", "#nobottles", "x#noai", "#ainotes", "# noai"])
async def test_other_words_and_tags_are_no_refusal(wren: FakeAccount, see: Any, bio: str) -> None:
    wren.bio = bio
    assert (await see()).opted_out is None


@pytest.mark.parametrize("use", ["training", "syntheticContent"])
async def test_ai_preferences_opt_out(wren: FakeAccount, see: Any, use: str) -> None:
    wren.records["community.lexicon.preference.ai"] = {
        "self": {
            "scope": {"$type": "community.lexicon.preference.ai#globalScope"},
            "preferences": {use: {"allow": False, "updatedAt": "2026-05-01T00:00:00Z"}},
        }
    }
    assert "AI preferences" in (await see()).opted_out


@pytest.mark.parametrize("collection", ["org.user-intents.declaration", "org.user-intents.demo.declaration"])
async def test_declared_intents_opt_out(wren: FakeAccount, see: Any, collection: str) -> None:
    wren.records[collection] = {"self": {"syntheticContentGeneration": {"allow": False}}}
    assert collection in (await see()).opted_out


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"preferences": {"training": {"allow": True}, "inference": {"allow": False}}},
        {"preferences": {"training": {}, "syntheticContent": "no"}},
        {"preferences": []},
        {"preferences": {"training": {"allow": False}}, "scope": {"$type": "x#entityScope", "entity": "did:web:a.b"}},
    ],
)
async def test_no_preference_and_those_for_others_are_no_refusal(wren: FakeAccount, see: Any, value: object) -> None:
    wren.records["community.lexicon.preference.ai"] = {"self": value, "3kaaaaaaaaaaa": None}
    assert (await see()).opted_out is None


# What goes wrong


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://pds.example.org",
        "https://localhost",
        "https://10.1.2.3",
        "https://169.254.169.254",
        "https://[::1]",
        "https://127.1",
        "https://2130706433",
        "https://0x7f.1",
        "https://pds.example.org:8443",
        "https://[",
        7,
        None,
        "https://me:pw@pds.example.org",
        "ftp://pds.example.org",
        "",
        "https://127.0.0.1.",
        "https://pds.example.org:x",
    ],
)
async def test_a_server_off_the_public_web_is_never_asked(
    bluesky: FakeBluesky, wren: FakeAccount, see: Any, endpoint: object
) -> None:
    service = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": endpoint}
    wren.document = {"service": [service]}
    error = await refusal(see)
    assert isinstance(error, SourceDown)
    assert "not on the public web" in str(error)
    assert {a.host for a in bluesky.net.asked} == {APP, DIRECTORY}


async def test_a_server_whose_name_leads_inside_is_never_asked(
    bluesky: FakeBluesky, wren: FakeAccount, see: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wren.server = "inside.example.org"
    looked_up, stands_in = socket.getaddrinfo, web._StandIn.resolve

    def inside(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        return looked_up("10.0.0.5" if host == wren.server else host, port, *args, **kwargs)

    async def resolve(self: Any, host: str, port: int = 0, family: Any = socket.AF_INET) -> Any:
        return await (web._Public().resolve(host, port, family) if host == wren.server else stands_in(self, host))

    monkeypatch.setattr(socket, "getaddrinfo", inside)
    monkeypatch.setattr(web._StandIn, "resolve", resolve)
    error = await refusal(see)
    assert isinstance(error, SourceDown)
    assert str(error).startswith("inside.example.org can't be reached (inside.example.org is not on the public web)")


@pytest.mark.parametrize("services", [[], {}, None, ["x"], [{"id": "#other", "type": "AtprotoPersonalDataServer"}]])
async def test_a_document_without_a_server_is_refused(wren: FakeAccount, see: Any, services: object) -> None:
    wren.document = {"service": services}
    assert "names no server" in str(await refusal(see))


@pytest.mark.parametrize("names", [None, [], "at://wren.bsky.social", [7], ["https://wren.bsky.social"]])
async def test_a_document_without_a_handle_is_nobodys(wren: FakeAccount, see: Any, names: object) -> None:
    wren.document = {"alsoKnownAs": names}
    assert isinstance(await refusal(see), AccountNotFound)


async def test_a_document_of_somebody_else_is_refused(wren: FakeAccount, see: Any) -> None:
    wren.document = {"id": OTHER}
    assert "makes no sense" in str(await refusal(see))


@pytest.mark.parametrize("body", ["<html>", "[]", "null", "{}", "[" * 2000, '{"did": 1' + "0" * 5000 + "}", '"x"', "7"])
@pytest.mark.parametrize(
    "method", ["com.atproto.identity.resolveHandle", "document", "app.bsky.actor.getProfile", LIST]
)
async def test_an_answer_of_any_other_shape_is_a_typed_error(
    bluesky: FakeBluesky, wren: FakeAccount, see: Any, method: str, body: str
) -> None:
    bluesky.broken[method] = (200, body)
    assert isinstance(await refusal(see), SourceDown | AccountNotFound)


async def test_a_servers_own_words_are_not_repeated(bluesky: FakeBluesky, wren: FakeAccount, see: Any) -> None:
    bluesky.broken[LIST] = (400, {"error": "Oh\n@everyone", "message": "click https://evil.example\n" * 1000})
    assert "(it answers with error 400)" in str(await refusal(see))
    bluesky.broken[LIST] = (400, {"error": "InvalidCursor", "message": "x"})
    assert "(it answers with error InvalidCursor)" in str(await refusal(see))


async def test_a_rate_limit_too_long_to_wait_for_is_told(bluesky: FakeBluesky, wren: FakeAccount, see: Any) -> None:
    async def limited(request: Any) -> Any:
        reset = str(int(datetime.now(UTC).timestamp()) + 7200)
        return json_response({"error": "RateLimitExceeded"}, status=429, headers={"RateLimit-Reset": reset})

    bluesky.net.serve(wren.server, limited)
    error = await refusal(see)
    assert isinstance(error, RateLimited)
    assert error.until is not None


async def test_a_profile_of_any_values_is_read(bluesky: FakeBluesky, wren: FakeAccount, see: Any) -> None:
    odd = {"displayName": ["x"], "description": {"y": 1}, "postsCount": 10**30, "labels": "!hide"}
    bluesky.broken["app.bsky.actor.getProfile"] = (200, {"did": wren.did, **odd})
    assert await see() == Profile(handle=HANDLE, name=HANDLE)


# Posts


async def test_posts_come_newest_first_with_their_fields(wren: FakeAccount, pull: Any) -> None:
    old = wren.post("first", 1, langs=["ja", "en"])
    new = wren.post("second &amp; last", 2, createdAt="2024-05-01T10:00:00.5+02:00")
    second, first = await pull()
    assert second == Post(
        id=new,
        text="second &amp; last",
        is_escaped=False,
        created_at=datetime(2024, 5, 1, 8, 0, 0, 500_000, tzinfo=UTC),
    )
    assert (first.id, first.lang) == (old, "ja")


async def test_own_threads_are_kept_and_known(wren: FakeAccount, pull: Any) -> None:
    root = wren.post("root", 1)
    other = {"uri": f"at://{OTHER}/{POSTS}/{root}"}
    wren.post("and on", 2, reply={"root": {"uri": wren.uri(root)}, "parent": {"uri": wren.uri(root)}})
    wren.post("to another", 3, reply={"root": other, "parent": other})
    assert [(p.text, p.reply_to_id) for p in await pull()] == [("to another", None), ("and on", root), ("root", None)]


@pytest.mark.parametrize("before", ["", "🦉🦉 ", "日本語で書く：", "👩‍👩‍👧 naïve — ", "ไทย "])
async def test_links_are_cut_by_bytes(wren: FakeAccount, pull: Any, before: str) -> None:
    text = f"{before}example.com/abc... and after"
    wren.post(text, facets=[facet(text, "example.com/abc...")])
    (post,) = await pull()
    assert (post.text, post.links) == (text, ("example.com/abc...",))


async def test_words_that_are_linked_stay_words(wren: FakeAccount, pull: Any) -> None:
    text = "read the new paper here, or at nasa.gov"
    wren.post(text, facets=[facet(text, "the new paper"), facet(text, "here"), facet(text, "nasa.gov")])
    assert [p.links for p in await pull()] == [("nasa.gov",)]


@pytest.mark.parametrize(
    "index",
    [
        {"byteStart": 1, "byteEnd": 8},  # begins within the owl
        {"byteStart": 4, "byteEnd": 400},
        {"byteStart": 8, "byteEnd": 4},
        {"byteStart": -4, "byteEnd": 8},
        {"byteStart": True, "byteEnd": 8},
        {"byteStart": 1e300, "byteEnd": "8"},
        {"byteStart": 10**400, "byteEnd": 10**401},
        [],
        None,
    ],
)
async def test_facets_that_fit_no_text_are_passed_over(wren: FakeAccount, pull: Any, index: object) -> None:
    link = {"$type": "app.bsky.richtext.facet#link", "uri": "x"}
    wren.post("🦉a.example b.example", facets=[{"index": index, "features": [link]}])
    assert [p.links for p in await pull()] == [()]


async def test_of_facets_that_overlap_the_first_counts(wren: FakeAccount, pull: Any) -> None:
    text = "see a.example/bcd.example"
    wren.post(text, facets=[facet(text, "bcd.example"), facet(text, "a.example/bcd")])
    assert [p.links for p in await pull()] == [("a.example/bcd",)]


async def test_what_is_no_post_with_a_text_is_passed_over(wren: FakeAccount, pull: Any) -> None:
    wren.post("kept", 1)
    values = [None, [], "text", {}, {"$type": POSTS}, {"$type": "app.bsky.feed.repost", "text": "x"}]
    values += [{"$type": POSTS, "text": t} for t in ("", " \n", 7, ["x"], "long" * 1000, None, "\ud800")]
    wren.records[POSTS] |= {tid(2 + n): value for n, value in enumerate(values)}
    wren.records[POSTS]["not-a-tid"] = {"$type": POSTS, "text": "x"}
    assert [p.text for p in await pull()] == ["kept"]


@pytest.mark.parametrize(
    "record",
    [
        {"createdAt": "soon", "langs": "en", "facets": {}, "reply": "x"},
        {"createdAt": 10**400, "langs": [7], "facets": [None, 7, {"features": 7}], "reply": {"parent": []}},
        {"createdAt": None, "langs": ["en\n@everyone"], "facets": [{"index": {}, "features": [7]}], "reply": {}},
        {"createdAt": "0000-00-00", "langs": [], "reply": {"parent": {"uri": ["at://"]}}, "facets": None},
    ],
)
async def test_odd_fields_leave_the_text(wren: FakeAccount, pull: Any, record: Any) -> None:
    key = wren.post("kept", **record)
    assert await pull() == [Post(id=key, text="kept", is_escaped=False)]


async def test_half_a_surrogate_pair_is_dropped(bluesky: FakeBluesky, wren: FakeAccount, pull: Any) -> None:
    wren.post("a\ud83e b.example", facets=[{"index": {"byteStart": 2, "byteEnd": 11}, "features": []}])
    assert [p.text for p in await pull()] == ["a b.example"]


async def test_a_time_in_the_future_is_no_time(wren: FakeAccount, pull: Any) -> None:
    wren.post("tomorrow", 1, createdAt=(datetime.now(UTC) + timedelta(hours=2)).isoformat())
    wren.post("next year", 2, createdAt=(datetime.now(UTC) + timedelta(days=365)).isoformat())
    assert [(p.text, p.created_at is None) for p in await pull()] == [("next year", True), ("tomorrow", False)]


async def test_only_what_is_newer_than_the_held_post_comes(bluesky: FakeBluesky, wren: FakeAccount, pull: Any) -> None:
    for number in range(150):
        wren.post(f"post {number}", number)
    assert [p.text for p in await pull(tid(147))] == ["post 149", "post 148"]
    assert bluesky.asked(wren.server, LIST, POSTS) == 1
    assert len(await pull("1234567890123456789", pages="others")) == 150  # held from elsewhere


async def test_no_more_than_max_posts_are_asked_for(bluesky: FakeBluesky, wren: FakeAccount, pull: Any) -> None:
    for number in range(350):
        wren.post(f"post {number}", number)
    posts = await pull(max_posts=200)
    assert [p.text for p in posts] == [f"post {n}" for n in range(349, 149, -1)]
    assert bluesky.asked(wren.server, LIST, POSTS) == 2


async def test_a_resumed_pull_asks_for_no_page_twice(bluesky: FakeBluesky, wren: FakeAccount, pull: Any) -> None:
    for number in range(250):
        wren.post(f"post {number}", number)
    whole = bluesky._records
    pages = 0

    def breaks_off(host: str, query: Any) -> Any:
        nonlocal pages
        pages += 1
        return whole(host, query) if pages < 3 else json_response({"error": "InvalidCursor"}, status=400)

    bluesky._records = breaks_off  # type: ignore[method-assign]
    with pytest.raises(SourceDown):
        await pull()
    bluesky._records = whole  # type: ignore[method-assign]
    wren.post("made since", 999)
    assert [p.text for p in await pull()] == [f"post {n}" for n in range(249, -1, -1)]
    asked = [path for path in bluesky.net.asked_of(wren.server) if POSTS in path]
    assert len(asked) == len(set(asked)) + 1 == 5  # four pages, and the one that broke off


async def test_a_cursor_that_comes_again_ends_it(bluesky: FakeBluesky, wren: FakeAccount, pull: Any) -> None:
    record = {"uri": wren.uri(tid(1)), "value": {"$type": POSTS, "text": "again"}}
    bluesky.broken[LIST] = (200, {"records": [record], "cursor": "again"})
    assert [p.text for p in await pull()] == ["again"]
    assert bluesky.asked(wren.server, LIST, POSTS) == 2


async def test_ever_new_cursors_end_too(bluesky: FakeBluesky, wren: FakeAccount, pull: Any) -> None:
    count = 0

    def endless(host: str, query: Any) -> Any:
        nonlocal count
        count += 1
        record = {"uri": wren.uri(tid(1)), "value": {"$type": POSTS, "text": "again"}}
        return json_response({"records": [record], "cursor": str(count)})

    bluesky._records = endless  # type: ignore[method-assign]
    assert [p.text for p in await pull(max_posts=100)] == ["again"]
    assert count == 54


async def test_records_of_another_repository_are_passed_over(
    bluesky: FakeBluesky, wren: FakeAccount, pull: Any
) -> None:
    uris = [f"at://{OTHER}/{POSTS}/{tid(1)}", f"at://{wren.did}/app.bsky.feed.like/{tid(1)}", "at://", 7, None]
    records: list[Any] = [{"uri": uri, "value": {"$type": POSTS, "text": "x"}} for uri in uris]
    bluesky.broken[LIST] = (200, {"records": [*records, None, 7, []]})
    assert await pull() == []


@pytest.mark.parametrize("body", [{"records": {}}, {"records": None}, {"cursor": "x"}, "[]", "{"])
async def test_a_page_that_makes_no_sense_is_not_kept(
    bluesky: FakeBluesky, wren: FakeAccount, pull: Any, body: Any
) -> None:
    wren.post("kept")
    bluesky.broken[LIST] = (200, body)
    with pytest.raises(UserError, match="makes no sense"):
        await pull()
    bluesky.broken.clear()
    assert [p.text for p in await pull()] == ["kept"]
