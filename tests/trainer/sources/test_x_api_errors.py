"""What X's API says instead of posts: every refusal told apart, what may pass tried again, the token never told."""

from __future__ import annotations

import asyncio
import itertools
import logging
import traceback

import aiohttp
import pytest

import tests.fakes.x_answers as say
from models.source_errors import (
    AccountNotFound,
    AccountProtected,
    AccountSuspended,
    OutOfCredit,
    RateLimited,
    SourceDown,
    SourceError,
    SourceRefused,
    UsageCapped,
)
from tests.fakes.internet import FakeInternet
from tests.fakes.x_answers import XAnswer
from tests.fakes.x_api import FakeX, many_posts
from tests.trainer.sources.conftest import OpenAccess, pull_from_x
from trainer.sources.web import Web
from trainer.sources.x_api import XApi

ERRORS = [
    (say.UNAUTHORIZED, SourceRefused, "bearer token"),
    (XAnswer(status=401, body="<html>"), SourceRefused, "bearer token"),
    (say.CREDITS_DEPLETED, OutOfCredit, "credit"),
    (say.PAYMENT_REQUIRED, OutOfCredit, "credit"),
    (say.NOT_ENROLLED, SourceRefused, "plan"),
    (say.FORBIDDEN, SourceRefused, "does not allow"),
    (say.PROTECTED, AccountProtected, "protected"),
    (say.USAGE_CAP, UsageCapped, "monthly number"),
    (XAnswer(status=404, body={"title": "Not Found", "type": "about:blank"}), SourceDown, "error 404"),
    (XAnswer(status=302, body={}, headers={"Location": "https://example.org/"}), SourceDown, "error 302"),
]


@pytest.mark.parametrize("after", [0, 2], ids=["profile", "second page"])
@pytest.mark.parametrize(("fault", "error", "words"), ERRORS)
async def test_a_refusal_has_its_own_error_and_is_not_tried_again(
    x: FakeX, net: FakeInternet, open_access: OpenAccess, fault: XAnswer, error: type, words: str, after: int
) -> None:
    x.add_user("nasa", posts=many_posts(150))
    x.fail(fault, after=after)
    with pytest.raises(error, match=words) as raised:
        await pull_from_x(open_access)
    assert type(raised.value) is error and raised.value.where == "X"
    assert len(net.asked) == after + 1
    assert len(await pull_from_x(open_access)) == 150, "a refusal is not kept"
    assert set(x.delivered.values()) == {1}


PASSING = [
    (say.SERVER_ERROR, "error 503"),
    (say.HTML_ERROR, "error 502"),
    (say.CHALLENGE, "error 403"),
    (say.BROKEN, "connection"),
    (XAnswer(body="<!DOCTYPE html>"), "no JSON"),
    (XAnswer(body="[" * 100_000), "no JSON"),
    (XAnswer(body='{"meta": ' + "9" * 5000 + "}"), "no JSON"),
    (XAnswer(body="[1, 2]"), "no JSON"),
]


@pytest.mark.parametrize("after", [0, 2], ids=["profile", "second page"])
@pytest.mark.parametrize(("fault", "words"), PASSING)
async def test_what_may_pass_is_tried_again(
    x: FakeX, open_access: OpenAccess, fault: XAnswer, words: str, after: int
) -> None:
    x.add_user("nasa", posts=many_posts(150))
    x.fail(fault, after=after, times=3)
    assert len(await pull_from_x(open_access)) == 150
    x.fail(fault, times=8)  # aiohttp itself asks again when a connection breaks
    with pytest.raises(SourceDown, match=words):
        await pull_from_x(open_access, pages="another-job")


async def test_silence_is_tried_again(x: FakeX, open_access: OpenAccess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.sources.web.TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    x.add_user("nasa", posts=many_posts(5))
    x.fail(say.NO_ANSWER, times=4)
    with pytest.raises(SourceDown, match="does not answer in time"):
        await pull_from_x(open_access)


async def test_an_unreachable_x_is_told_so(x: FakeX, open_access: OpenAccess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOCKINGBIRD_STAND_IN", "127.0.0.1:1")
    with pytest.raises(SourceDown, match=r"X can't be reached .*api\.x\.com"):
        await pull_from_x(open_access)


async def test_an_answer_without_end_is_cut_off(
    x: FakeX, open_access: OpenAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.sources.web.MAX_BODY_BYTES", 10_000)
    x.add_user("nasa", posts=many_posts(150))
    with pytest.raises(SourceDown, match="too large"):
        await pull_from_x(open_access)
    assert len(x.queries) == 1


async def test_a_rate_limit_is_waited_for(x: FakeX, open_access: OpenAccess, waits: list[float]) -> None:
    notices: list[str] = []
    x.add_user("nasa", posts=many_posts(350))
    x.fail(say.rate_limit(600), after=2, times=2)
    assert len(await pull_from_x(open_access, notices=notices)) == 350
    assert len(waits) == 2 and all(590 < wait < 610 for wait in waits)
    assert len(notices) == 2 and all(notice.startswith("X wants me to wait") for notice in notices)
    assert set(x.delivered.values()) == {1}


async def test_a_plan_with_few_requests_takes_its_time_and_gives_all(
    x: FakeX, open_access: OpenAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pause(self: Web, seconds: float) -> None:
        await asyncio.sleep(x.window_s)

    monkeypatch.setattr(Web, "pause", pause)
    x.requests_per_window, x.window_s = 2, 0.1
    x.add_user("nasa", posts=many_posts(450))
    assert len(await pull_from_x(open_access)) == 450
    assert set(x.delivered.values()) == {1}


async def test_a_rate_limit_without_its_end_is_waited_for_a_minute_and_not_for_ever(
    x: FakeX, net: FakeInternet, open_access: OpenAccess, waits: list[float]
) -> None:
    x.add_user("nasa", posts=many_posts(350))
    x.fail(say.rate_limit(None), times=1000)
    with pytest.raises(RateLimited):
        await pull_from_x(open_access)
    assert waits == [60.0] * 4
    assert len(net.asked) == 4


@pytest.mark.parametrize("reset", ["", "soon", "-1", "9" * 5000, "1e9"])
async def test_a_rate_limit_with_a_strange_end_breaks_nothing(
    x: FakeX, open_access: OpenAccess, waits: list[float], reset: str
) -> None:
    x.add_user("nasa", posts=many_posts(5))
    x.fail(XAnswer(status=429, body={}, headers={"x-rate-limit-reset": reset}))
    assert len(await pull_from_x(open_access)) == 5
    assert waits == [60.0]


async def test_a_limit_that_is_too_far_away_is_told(x: FakeX, open_access: OpenAccess, waits: list[float]) -> None:
    x.add_user("nasa", posts=many_posts(5))
    x.fail(say.rate_limit(24 * 3600))
    with pytest.raises(RateLimited) as raised:
        await pull_from_x(open_access)
    assert raised.value.until is not None and waits == []


async def test_missing_suspended_and_protected_accounts_are_told_apart(x: FakeX, open_access: OpenAccess) -> None:
    x.add_user("gone", suspended=True)
    x.add_user("shy", protected=True)
    for handle, error in (("nobody", AccountNotFound), ("gone", AccountSuspended), ("shy", AccountProtected)):
        with pytest.raises(error) as raised:
            await pull_from_x(open_access, handle, pages=handle)
        assert raised.value.handle == handle
    x.users["shy"].protected = False
    assert await pull_from_x(open_access, "shy", pages="shy") == [], "a refusal is not kept"


@pytest.mark.parametrize(
    ("change", "error"), [("suspended", AccountSuspended), ("protected", AccountProtected), (None, AccountNotFound)]
)
async def test_an_account_can_be_lost_on_the_way(
    x: FakeX, open_access: OpenAccess, change: str | None, error: type[SourceError]
) -> None:
    user = x.add_user("nasa", posts=many_posts(150))
    async with open_access() as access:
        posts = XApi(access).posts("nasa")
        await anext(posts)
        if change:
            setattr(user, change, True)
        else:
            del x.users["nasa"]
        with pytest.raises(error):
            _ = [post async for post in posts]


async def test_a_page_with_posts_and_errors_is_used(x: FakeX, open_access: OpenAccess) -> None:
    x.add_user("nasa", posts=many_posts(5))
    lost = say.problem("resource-not-found", "Not Found Error", "Could not find tweet with ids: [1].")
    body = {"data": [{"id": "5", "text": "Still here."}], "errors": [lost], "meta": {"result_count": 1}}
    x.fail(XAnswer(body=body), after=1)
    assert [post.text for post in await pull_from_x(open_access)] == ["Still here."]


STRANGE = [None, True, 5, -1, 1e308, "x", "\ud800", [], [[]], [5], {}, {"a": {}}, {"errors": 5}, 10**400]


@pytest.mark.parametrize(("key", "value"), list(itertools.product(["data", "errors", "meta", "includes"], STRANGE)))
async def test_a_page_of_any_shape_breaks_nothing(x: FakeX, open_access: OpenAccess, key: str, value: object) -> None:
    x.add_user("nasa", posts=many_posts(5))
    x.fail(XAnswer(body={"data": [{"id": "5", "text": "A."}], "meta": {"result_count": 1}, key: value}), after=1)
    try:
        assert len(await pull_from_x(open_access)) <= 1
    except SourceError:
        pass


@pytest.mark.parametrize("status", [200, 400, 403, 429, 500])
@pytest.mark.parametrize("value", STRANGE)
async def test_a_problem_of_any_shape_breaks_nothing(
    x: FakeX, open_access: OpenAccess, waits: list[float], status: int, value: object
) -> None:
    keys = ("errors", "error", "title", "detail", "type", "period", "reason", "data")
    for shape in (dict.fromkeys(keys, value), {"errors": [dict.fromkeys((*keys, "message", "parameters"), value)]}):
        x.fail(XAnswer(status=status, body=shape), times=9)
        with pytest.raises(SourceError):
            await pull_from_x(open_access)
        x.heal()


@pytest.mark.parametrize("value", STRANGE)
async def test_an_account_and_a_post_of_any_shape_break_nothing(
    x: FakeX, open_access: OpenAccess, value: object
) -> None:
    keys = ("name", "description", "public_metrics")
    x.fail(XAnswer(body={"data": {"id": "7", "username": "nasa", **dict.fromkeys(keys, value)}}))
    keys = ("id", "note_post", "referenced_posts", "entities", "in_reply_to_user_id", "created_at", "lang")
    posts = [{"text": "One.", **dict.fromkeys(keys, value)}, {"text": value}, {"text": "Two.", "id": "77"}]
    x.fail(XAnswer(body={"data": posts, "meta": {"next_token": value}}))
    x.fail(XAnswer(body={"meta": {"result_count": 0}}), times=3)
    texts = [post.text for post in await pull_from_x(open_access)]
    assert texts[0] == "One." and "Two." in texts


@pytest.mark.parametrize("token", [None, "", "  ", "two words", "new\nline", "ключ"])
async def test_without_a_usable_token_nothing_is_asked(
    x: FakeX, net: FakeInternet, open_access: OpenAccess, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    if token is None:
        monkeypatch.delenv("X_BEARER_TOKEN")
    else:
        monkeypatch.setenv("X_BEARER_TOKEN", token)
    with pytest.raises(SourceRefused, match="X_BEARER_TOKEN"):
        await pull_from_x(open_access)
    assert net.asked == []


@pytest.mark.parametrize(
    "fault", [fault for fault, *_ in ERRORS + PASSING] + [say.rate_limit(0), say.invalid_request({}, "no")]
)
async def test_the_token_is_never_told(
    x: FakeX, open_access: OpenAccess, waits: list[float], caplog: pytest.LogCaptureFixture, fault: XAnswer
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("tweepy", "tweepy.asynchronous.client", "aiohttp.client", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    x.echoes = True
    x.add_user("nasa", posts=many_posts(150))
    x.fail(fault, after=2, times=9)
    with pytest.raises(SourceError) as raised:
        await pull_from_x(open_access)
    told = "".join(traceback.format_exception(raised.value)) + repr(vars(raised.value)) + caplog.text
    assert x.token[:25] not in told
