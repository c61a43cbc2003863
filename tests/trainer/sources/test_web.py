"""The web as sources see it: patient with servers, deaf to nobody, and never inside anybody's network."""

from __future__ import annotations

import asyncio
import gzip
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web as http
from yarl import URL

from models.source_errors import RateLimited, SourceDown
from tests.fakes.internet import FakeInternet
from tests.trainer.sources.conftest import OpenAccess
from trainer.sources import web
from trainer.sources.web import Answer, reset_of

HOST = "api.example.org"
PAGE = f"https://{HOST}/page"


class Stop(Exception):
    """What the job's check raises."""


@pytest.fixture(autouse=True)
def _no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "RETRY_DELAYS_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(web, "HEARING_S", 0.02)


@pytest.fixture
def answers(net: FakeInternet) -> Callable[..., None]:
    """`answers(one, other)`: what the host gives, in turn; the last one again and again."""

    def answers(*responses: Callable[[], http.StreamResponse]) -> None:
        left = list(responses)

        async def handler(_: http.Request) -> http.StreamResponse:
            return (left.pop(0) if len(left) > 1 else left[0])()

        net.serve(HOST, handler)

    return answers


@pytest.fixture
def get(open_access: OpenAccess) -> Any:
    async def get(url: str | URL = PAGE, **kwargs: Any) -> Answer:
        params = kwargs.pop("params", None)
        async with open_access(**kwargs) as access:
            return await access.web.get(url, handle="wren", params=params)

    return get


def fine(body: Any = "fine") -> Callable[[], http.Response]:
    return lambda: http.json_response(body)


def failing(status: int, **headers: str) -> Callable[[], http.Response]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: http.json_response({"error": "x"}, status=status, headers=named)


def to(location: str, status: int = 302) -> Callable[[], http.Response]:
    return lambda: http.Response(status=status, headers={"Location": location})


async def down(get: Any, url: str | URL = PAGE) -> str:
    with pytest.raises(SourceDown) as caught:
        await get(url)
    return caught.value.reason


# Answers


async def test_an_answer_has_status_headers_and_json(net: FakeInternet, answers: Any, get: Any) -> None:
    answers(lambda: http.json_response({"ä": [1]}, status=404, headers={"Link": "<next>"}))
    answer = await get(params={"q": "a b&c=🦉"})
    assert (answer.status, answer.headers["link"], answer.body) == (404, "<next>", {"ä": [1]})
    (asked,) = net.asked
    assert asked.query == {"q": "a b&c=🦉"}
    assert asked.headers["User-Agent"].startswith("Mockingbird/")
    assert "Cookie" not in asked.headers and "Authorization" not in asked.headers


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"a": ',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"[" * 500 + b"]" * 500,
        b"1" * 5000,
        b"\x1f\x8b",
        b'{"a":' * 65 + b"1" + b"}" * 65,
    ],
)
async def test_what_is_no_json_is_none(answers: Any, get: Any, body: bytes) -> None:
    answers(lambda: http.Response(body=body, content_type="application/json"))
    assert (await get()).body is None


async def test_json_as_deep_as_any_post_is_read(answers: Any, get: Any) -> None:
    answers(lambda: http.Response(body=b"[" * 60 + b"]" * 60))
    assert (await get()).body is not None


async def test_an_answer_up_to_the_limit_is_read(answers: Any, get: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MAX_BODY_BYTES", 200_000)
    answers(fine("x" * 199_998))
    assert len((await get()).body) == 199_998
    answers(fine("x" * 199_999))
    assert await down(get) == "its answer is too large"


async def test_an_answer_without_end_is_left(net: FakeInternet, get: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MAX_BODY_BYTES", 1 << 20)

    async def endless(request: http.Request) -> http.StreamResponse:
        response = http.StreamResponse()
        await response.prepare(request)
        while request.transport and not request.transport.is_closing():
            await response.write(b"x" * 65536)
            await asyncio.sleep(0)
        return response

    net.serve(HOST, endless)
    assert await down(get) == "its answer is too large"


async def test_a_gzip_bomb_is_left_before_it_unpacks(answers: Any, get: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MAX_BODY_BYTES", 2 << 20)
    bomb = gzip.compress(bytes(256 << 20), compresslevel=1)
    answers(lambda: http.Response(body=bomb, headers={"Content-Encoding": "gzip"}))
    tracemalloc.start()
    try:
        assert await down(get) == "its answer is too large"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 24 << 20


async def test_packed_answers_are_unpacked_and_damaged_ones_refused(answers: Any, get: Any) -> None:
    packed = gzip.compress(b'{"a": 1}')
    answers(lambda: http.Response(body=packed, headers={"Content-Encoding": "gzip"}))
    assert (await get()).body == {"a": 1}
    answers(lambda: http.Response(body=b"no gzip", headers={"Content-Encoding": "gzip"}))
    assert await down(get) == "its answer is damaged"


async def test_cookies_are_not_kept(net: FakeInternet, open_access: OpenAccess) -> None:
    async def bake(request: http.Request) -> http.StreamResponse:
        response = http.json_response("fine")
        response.set_cookie("who", "me", domain="example.org" if request.host == HOST else None)
        return response

    net.serve("*.example.org", bake)
    async with open_access() as access:
        for host in (HOST, HOST, "other.example.org"):
            await access.web.get(f"https://{host}/", handle="wren")
    assert not any("Cookie" in asked.headers for asked in net.asked)


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed(net: FakeInternet, answers: Any, get: Any, status: int) -> None:
    answers(to("/there?x=1", status), fine())
    answer = await get()
    assert (answer.body, str(answer.url)) == ("fine", f"https://{HOST}/there?x=1")


async def test_a_redirect_to_another_server_is_followed(net: FakeInternet, answers: Any, get: Any) -> None:
    answers(to("https://other.example.org/x"))

    async def other(_: http.Request) -> http.StreamResponse:
        return http.json_response("other")

    net.serve("other.example.org", other)
    assert (await get()).body == "other"


@pytest.mark.parametrize(
    "location",
    [
        "http://api.example.org/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data",
        "//10.0.0.1/",
        "https://2130706433/",
        "https://127.1/",
        "https://0x7f000001/",
        "https://localhost/",
        "https://api.example.org:8443/",
        "https://me:pw@api.example.org/",
        "file:///etc/passwd",
        "data:,x",
        "https://[",
        "https://api.example.org:99999/",
        "https://" + "x" * 64 + ".org/",
        "https://ex\xadample..org/",
    ],
)
async def test_a_redirect_off_the_public_web_is_not_followed(
    net: FakeInternet, answers: Any, get: Any, location: str
) -> None:
    answers(to(location))
    reason = await down(get)
    assert "allowed" in reason or "makes no sense" in reason
    assert len(net.asked) == 1


async def test_endless_redirects_end(net: FakeInternet, answers: Any, get: Any) -> None:
    answers(to("/again"))
    assert await down(get) == "it redirects in circles"
    assert len(net.asked) == web.MAX_REDIRECTS + 1


# Failures that pass, and those that don't


async def test_errors_that_pass_are_tried_again(net: FakeInternet, answers: Any, get: Any) -> None:
    answers(failing(500), failing(503), fine())
    assert (await get()).body == "fine"
    assert len(net.asked) == 3


async def test_errors_that_last_are_told(net: FakeInternet, answers: Any, get: Any) -> None:
    answers(failing(502))
    assert await down(get) == "it answers with error 502"
    assert len(net.asked) == 4


async def test_a_connection_that_breaks_off_is_tried_again(net: FakeInternet, get: Any) -> None:
    async def torn(request: http.Request) -> http.StreamResponse:
        if len(net.asked) > 2:
            return http.json_response("fine")
        response = http.StreamResponse(headers={"Content-Length": "100"} if len(net.asked) == 2 else {})
        await response.prepare(request)
        assert request.transport is not None
        request.transport.abort()
        return response

    net.serve(HOST, torn)
    assert (await get()).body == "fine"


async def test_a_server_that_hangs_is_given_up(net: FakeInternet, get: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_: http.Request) -> http.StreamResponse:
        await asyncio.sleep(30)
        return http.json_response("late")

    monkeypatch.setattr(web, "TIMEOUT", web.aiohttp.ClientTimeout(total=0.1))
    net.serve(HOST, hang)
    assert await down(get) == "it does not answer in time"


async def test_nobody_listening_is_told_without_addresses(
    monkeypatch: pytest.MonkeyPatch, get: Any, unused_tcp_port: int
) -> None:
    monkeypatch.setenv(web.STAND_IN, f"127.0.0.1:{unused_tcp_port}")
    assert await down(get) == "it takes no connections"


async def test_a_certificate_of_nobody_is_refused(
    net: FakeInternet, answers: Any, get: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(fine())
    monkeypatch.delenv("SSL_CERT_FILE")
    assert await down(get) == "its certificate can't be trusted"
    assert not net.asked


# Rate limits


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry_After": "0"},
        {"Retry_After": format_datetime(datetime.now(UTC), usegmt=True)},
        {"x_rate_limit_reset": "1700000000"},
        {"X_RateLimit_Reset": "2024-05-01T10:00:00.000000Z"},
        {"RateLimit_Reset": "0"},
        {"Retry_After": "soon", "RateLimit_Reset": "0"},
        {},
    ],
)
async def test_a_rate_limit_is_waited_for(
    net: FakeInternet, answers: Any, get: Any, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def pause(_: object, seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(web.Web, "pause", pause)
    notices: list[str] = []
    answers(failing(429, **headers), fine())
    assert (await get(notices=notices)).body == "fine"
    assert waits == [pytest.approx(1.0, abs=1.1) if headers else 60.0]
    assert notices == ([] if headers else [f"{HOST} wants me to wait for 1 min; I go on by myself then."])


@pytest.mark.parametrize("header", ["Retry_After", "X_RateLimit_Reset", "RateLimit_Reset"])
async def test_a_rate_limit_too_far_away_is_told(net: FakeInternet, answers: Any, get: Any, header: str) -> None:
    answers(failing(429, **{header: "7200"}))
    with pytest.raises(RateLimited) as caught:
        await get()
    assert caught.value.until is not None
    assert abs(caught.value.until - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=1)
    assert len(net.asked) == 1


async def test_a_rate_limit_that_never_ends_is_told(
    net: FakeInternet, answers: Any, get: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "UNKNOWN_WAIT_S", 0.0)
    answers(failing(429))
    with pytest.raises(RateLimited):
        await get()
    assert len(net.asked) == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "-5",
        "1.5e300",
        "9" * 4000,
        "9" * 12,
        "0000-13-45",
        "Mon, 99 Foo 2024",
        "²",
        "٣" * 30,
        "nan",
        ",,,",
        "2024",
        "\x00",
        "9999-12-31T23:59:59-23:59",
        "Thu, 01 Jan 1970 00:00:00 -9999",
    ],
)
def test_a_reset_of_any_text_raises_nothing(text: str) -> None:
    for name in ("Retry-After", "X-RateLimit-Reset", "RateLimit-Reset"):
        when = reset_of({name: text})
        assert when is None or when.tzinfo is not None


# Cancels


@pytest.mark.parametrize("trouble", ["hangs", "limited", "fails"])
async def test_a_cancel_is_heard_while_waiting(
    net: FakeInternet, get: Any, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setattr(web, "RETRY_DELAYS_S", (30.0,))

    async def handler(_: http.Request) -> http.StreamResponse:
        if trouble == "hangs":
            await asyncio.sleep(30)
        return failing(429 if trouble == "limited" else 500, Retry_After="30")()

    def check() -> None:
        if net.asked:
            raise Stop

    net.serve(HOST, handler)
    started = time.monotonic()
    with pytest.raises(Stop):
        await get(check=check)
    assert time.monotonic() - started < 20
    assert len(net.asked) == 1
