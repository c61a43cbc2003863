"""The web as sources see it: JSON from public servers, asked for patiently, and never from anybody's inner network.

Handles name servers, so whoever types one chooses where the bot connects to. Only https on its usual port is spoken,
only with addresses that everybody can reach, checked when the connection is made and again after each redirect.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import os
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from models.source_errors import RateLimited, SourceDown

MAX_BODY_BYTES = 8 << 20  # a page of 100 posts is about 300 KB
READ_BYTES = 64 << 10
MAX_NESTING = 64  # levels of JSON; what is kept has to be written and read again well within Python's stack
MAX_REDIRECTS = 3
TIMEOUT = aiohttp.ClientTimeout(total=60, connect=15)
RETRY_DELAYS_S = (1.0, 4.0, 15.0)  # after an error that may pass
MAX_WAIT_S = 20 * 60  # for a rate limit; the longest window of the platforms is 15 minutes
UNKNOWN_WAIT_S = 60.0  # for a rate limit that does not say when it ends
HEARING_S = 1.0  # between two looks at whether the work is to stop
STAND_IN = "MOCKINGBIRD_STAND_IN"  # host:port on loopback that stands for all servers, for tests
USER_AGENT = f"Mockingbird/{version('mockingbird')}"

T = TypeVar("T")

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Nobody's, though Python 3.11 takes them for everybody's: IETF protocol assignments, and old site-local addresses.
_INNER = (ipaddress.ip_network("192.0.0.0/24"), ipaddress.ip_network("fec0::/10"))
# The last label of a public name is no number: systems take 127.1, 0x7f.1 or 2130706433 for addresses, and aiohttp
# before 3.14 handed them on without asking the resolver.
_NAME = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?\Z", re.IGNORECASE
)

# What went wrong, in a person's words, by the first kind that fits.
_REASONS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (TimeoutError, "it does not answer in time"),
    (aiohttp.ClientConnectorDNSError, "there is no server of that name"),
    ((aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError), "its certificate can't be trusted"),
    (aiohttp.ClientConnectorError, "it takes no connections"),
    ((aiohttp.ClientResponseError, aiohttp.ClientPayloadError), "its answer is damaged"),
    (ValueError, "its address makes no sense"),
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a server said. `body` is decoded JSON, None if it was none."""

    status: int
    headers: Mapping[str, str]  # names of any case
    body: Any
    url: URL


class Web:
    """Asks servers for JSON. `handle` is whose posts are wanted, for the errors."""

    def __init__(
        self, session: aiohttp.ClientSession, *, check: Callable[[], None], notice: Callable[[str], None]
    ) -> None:
        self.session = session
        self._check = check
        self._notice = notice

    async def get(self, url: str | URL, *, handle: str, params: Mapping[str, str] | None = None) -> Answer:
        """The server's answer with any status but 429 and 5xx, which are waited for.

        SourceDown if it can't be reached, is none of the public web or sends too much; RateLimited if waiting would
        take too long.
        """
        target, where = _target(url, params, handle=handle)
        delays = iter(RETRY_DELAYS_S)
        while True:
            self._check()
            delay_s = next(delays, None)
            trouble: SourceDown | RateLimited
            try:
                answer = await self.heard(self._ask(target, where=where, handle=handle))
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as exc:
                trouble = SourceDown(handle, where=where, reason=_reason(exc))
                if isinstance(exc, ValueError) or _private(exc):  # no later try will be another's
                    raise trouble from exc
            else:
                if answer.status == 429:
                    until = reset_of(answer.headers)
                    if delay_s is None:
                        raise RateLimited(handle, where=where, until=until)
                    await self.wait_for_limit(until, handle=handle, where=where)
                    continue
                if answer.status < 500:
                    return answer
                trouble = SourceDown(handle, where=where, reason=f"it answers with error {answer.status}")
            if delay_s is None:
                raise trouble
            await self.pause(delay_s)

    async def wait_for_limit(self, until: datetime | None, *, handle: str, where: str) -> None:
        """Wait until a rate limit ends (a minute, if that is unknown); RateLimited if that takes too long."""
        seconds = UNKNOWN_WAIT_S if until is None else max(1.0, (until - datetime.now(UTC)).total_seconds() + 1)
        if seconds > MAX_WAIT_S:
            raise RateLimited(handle, where=where, until=until)
        if seconds > 5:
            self._notice(f"{where} wants me to wait for {math.ceil(seconds / 60)} min; I go on by myself then.")
        await self.pause(seconds)

    async def pause(self, seconds: float) -> None:
        """Sleep, and hear a cancel within a second."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check()
            await asyncio.sleep(min(left, HEARING_S))

    async def heard(self, work: Coroutine[Any, Any, T], *, every_s: float = HEARING_S) -> T:
        """What the work returns; a cancel is heard while it goes on, and ends it."""
        task = asyncio.create_task(work)
        try:
            while not (await asyncio.wait([task], timeout=every_s))[0]:
                self._check()
        except BaseException:
            task.cancel()
            await asyncio.wait([task])
            raise
        return task.result()

    async def _ask(self, url: URL, *, where: str, handle: str) -> Answer:
        for _ in range(MAX_REDIRECTS + 1):
            require_public(url)
            async with self.session.get(url, allow_redirects=False) as response:
                if response.status in (301, 302, 303, 307, 308) and "Location" in response.headers:
                    url = response.url.join(URL(response.headers["Location"]))
                    continue
                return await read_answer(response, where=where, handle=handle)
        raise SourceDown(handle, where=where, reason="it redirects in circles")


class NotPublic(OSError):
    """An address that is not of the public web."""


@asynccontextmanager
async def open_web(*, check: Callable[[], None], notice: Callable[[str], None]) -> AsyncIterator[Web]:
    """The web. `check` is called often and raises if the work is to stop; `notice` tells who waits for it."""
    stand_in = os.environ.get(STAND_IN)
    resolver = _StandIn(stand_in) if stand_in else _Public()
    connector = aiohttp.TCPConnector(resolver=resolver, limit_per_host=4, ssl=ssl.create_default_context())
    headers = {"User-Agent": USER_AGENT, "Accept": "application/json"}
    # No cookies: nobody is to know again who asks.
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT, headers=headers, cookie_jar=jar) as session:
        yield Web(session, check=check, notice=notice)


async def read_answer(response: aiohttp.ClientResponse, *, where: str, handle: str) -> Answer:
    """The whole of a response; SourceDown if it is too large."""
    body = bytearray()
    while more := await response.content.read(READ_BYTES):  # unpacked: what counts is what it unpacks to
        body += more
        if len(body) > MAX_BODY_BYTES:
            raise SourceDown(handle, where=where, reason="its answer is too large")
    return Answer(status=response.status, headers=response.headers, body=_json_or_none(body), url=response.url)


def require_public(url: URL) -> None:
    """NotPublic unless it is https, on its usual port, at a name with a dot and not at a bare address."""
    if url.scheme != "https" or url.port != 443 or url.user or url.password or not url.raw_host:
        raise NotPublic("only plain https addresses are allowed")
    if not _NAME.match(url.raw_host):
        raise NotPublic("only servers with a public name are allowed, not bare addresses")


class _Public(AbstractResolver):
    """Names to addresses that everybody can reach."""

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for entry in found:
            if not is_public(entry["host"]):
                raise NotPublic(f"{host} is not on the public web")
        return found

    async def close(self) -> None:
        await self._resolver.close()


class _StandIn(AbstractResolver):
    """All names to one address on this machine."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        if not ipaddress.ip_address(self._host).is_loopback:
            raise ValueError(f"{STAND_IN} has to be on loopback")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host=self._host, port=self._port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        pass


def is_public(address: str) -> bool:
    """Whether everybody can reach an IP address; one that wraps another (6to4, NAT64, mapped) is as the inner one."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if inner is None and parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            return _is_global(inner)
    return _is_global(parsed)


def _is_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if address.is_multicast or address.is_reserved:  # reserved: ::/8, with an old way to wrap IPv4 addresses, and more
        return False
    return address.is_global and not any(address in network for network in _INNER)


def reset_of(headers: Mapping[str, str]) -> datetime | None:
    """When a rate limit ends, by any of the headers that platforms tell it with."""
    for name in ("Retry-After", "X-RateLimit-Reset", "X-Rate-Limit-Reset", "RateLimit-Reset"):
        if when := _as_time(headers.get(name, "")):
            return when
    return None


def _as_time(text: str) -> datetime | None:
    """Seconds from now, seconds since 1970, an ISO time or an HTTP date."""
    try:
        if text.strip().isdecimal():
            number = int(text)
            return datetime.fromtimestamp(number if number > 1_000_000_000 else time.time() + number, UTC)
        when = datetime.fromisoformat(text) if text[:4].isdigit() else parsedate_to_datetime(text)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None


def _target(url: str | URL, params: Mapping[str, str] | None, *, handle: str) -> tuple[URL, str]:
    """The address to ask and its server's name; SourceDown if it is no address."""
    try:
        target = URL(url).update_query(params or {})
        require_public(target)
    except (ValueError, NotPublic) as exc:
        raise SourceDown(handle, where="The server", reason=_reason(exc)) from exc
    return target, target.host or ""


def _json_or_none(body: bytearray) -> Any:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return None if _is_deeper(value, MAX_NESTING) else value


def _is_deeper(value: object, levels: int) -> bool:
    found = [value]
    for _ in range(levels):
        found = [
            inner
            for outer in found
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not found:
            return False
    return True


def _private(exc: BaseException) -> NotPublic | None:
    """The refusal of an address behind an exception: aiohttp wraps what its resolver raises."""
    return next((e for e in (exc, exc.__cause__) if isinstance(e, NotPublic)), None)


def _reason(exc: BaseException) -> str:
    """In a person's words; aiohttp's hold addresses, and what strangers sent."""
    if private := _private(exc):
        return str(private)
    for kinds, reason in _REASONS:
        if isinstance(exc, kinds):
            return reason
    return "the connection broke off"
