"""What goes over the wire to and from the stand-in for Discord: constants, ids, errors, sessions and interactions."""

# ruff: noqa: ASYNC109 - callers read better with a timeout argument than with a context manager each
from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from tests.fakes.discord_server import FakeDiscord

Json = dict[str, Any]
Upload = tuple[str, bytes]

# view channel, add reactions, send messages (also in threads), embed, attach, read history, use commands
DEFAULT_PERMISSIONS = sum(1 << bit for bit in (6, 10, 11, 14, 15, 16, 31, 38))
MANAGE_GUILD = DEFAULT_PERMISSIONS | 1 << 5
INTENT_GUILDS, INTENT_GUILD_MESSAGES, INTENT_DM_MESSAGES, INTENT_CONTENT = 1 << 0, 1 << 9, 1 << 12, 1 << 15
PRIVILEGED_INTENTS = 1 << 1 | 1 << 8 | INTENT_CONTENT
EPHEMERAL, LOADING = 1 << 6, 1 << 7
COMMAND, COMPONENT, AUTOCOMPLETE = 2, 3, 4
REPLY, DEFER, DEFER_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9
CALLBACKS = {COMMAND: {REPLY, DEFER, MODAL}, COMPONENT: {REPLY, DEFER, DEFER_UPDATE, UPDATE, MODAL}}
CALLBACKS[AUTOCOMPLETE] = {CHOICES}
ACK_LIMIT_S, TOKEN_LIMIT_S = 3.0, 15 * 60.0
_counter = itertools.count()


def snowflake() -> int:
    return (int(time.time() * 1000) - 1_420_070_400_000) << 22 | next(_counter) & 0x3FFFFF


def now_iso() -> str:
    return datetime.now(UTC).isoformat()


def walk(components: list[Json]) -> Iterator[Json]:
    for component in components:
        yield component
        nested = [component.get("accessory"), component.get("component"), *component.get("components", [])]
        yield from walk([c for c in nested if c])


class ApiError(Exception):
    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.body = status, {"code": code, "message": message}


def invalid(where: str, why: str) -> ApiError:
    error = ApiError(400, 50035, "Invalid Form Body")
    error.body["errors"] = {where: {"_errors": [{"code": "INVALID", "message": why}]}}
    return error


@dataclass
class Session:
    """A gateway session outlives its socket: what was sent is kept, so that RESUME can replay it."""

    id: str
    intents: int
    ws: web.WebSocketResponse | None
    transport: asyncio.BaseTransport | None
    log: list[str] = field(default_factory=list)
    sent: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def flush(self) -> None:
        async with self.lock:
            while self.ws is not None and self.sent < len(self.log):
                self.sent += 1
                try:
                    await self.ws.send_str(self.log[self.sent - 1])
                except ConnectionError:
                    self.ws = None


@dataclass
class Interaction:
    id: int
    token: str
    type: int
    user: Json
    created: float
    server: FakeDiscord
    message: Json | None
    edited_before: str | None
    response: Json | None = None
    followups: list[Json] = field(default_factory=list)
    acked_after_s: float | None = None

    @property
    def answer(self) -> Json | None:
        """The first content that the user can read, or None while the bot is still thinking."""
        kind = self.response["type"] if self.response else None
        if kind is not None and self.message is not None:
            edited = self.message["edited_timestamp"] != self.edited_before
            loaded = not self.message["flags"] & LOADING
            if kind in (REPLY, UPDATE) or (kind == DEFER and loaded) or (kind == DEFER_UPDATE and edited):
                return self.message
        return self.followups[0] if self.followups else None

    async def answered(self, timeout: float = 10) -> Json:
        return await self.server.wait_for(lambda: self.answer, timeout, what=f"an answer to interaction {self.id}")
