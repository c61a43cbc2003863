"""What goes over the wire to and from the stand-in for Discord: constants, ids, errors and interactions."""

# ruff: noqa: ASYNC109 - callers read better with a timeout argument than with a context manager each
from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from tests.fakes.discord_server import FakeDiscord

Json = dict[str, Any]
Upload = tuple[str, bytes]

VIEW_CHANNEL, SEND_MESSAGES, MANAGE_MESSAGES, EMBED_LINKS, ATTACH_FILES = 1 << 10, 1 << 11, 1 << 13, 1 << 14, 1 << 15
READ_HISTORY, MANAGE_WEBHOOKS, MANAGE_THREADS = 1 << 16, 1 << 29, 1 << 34
CREATE_THREADS, SEND_IN_THREADS, ALL_PERMISSIONS = 1 << 35, 1 << 38, (1 << 53) - 1
# what @everyone may: also add reactions and use commands
DEFAULT_PERMISSIONS = VIEW_CHANNEL | SEND_MESSAGES | EMBED_LINKS | ATTACH_FILES | READ_HISTORY
DEFAULT_PERMISSIONS |= 1 << 6 | 1 << 31 | CREATE_THREADS | SEND_IN_THREADS
MANAGE_GUILD = DEFAULT_PERMISSIONS | 1 << 5
# what an app has where it is no member: embed, attach, mention everyone
PRIVATE_PERMISSIONS = EMBED_LINKS | ATTACH_FILES | 1 << 17
INTENT_GUILDS, INTENT_GUILD_MESSAGES, INTENT_DM_MESSAGES, INTENT_CONTENT = 1 << 0, 1 << 9, 1 << 12, 1 << 15
PRIVILEGED_INTENTS = 1 << 1 | 1 << 8 | INTENT_CONTENT
EPHEMERAL, LOADING, HAS_THREAD, COMPONENTS_V2 = 1 << 6, 1 << 7, 1 << 5, 1 << 15
COMMAND, COMPONENT, AUTOCOMPLETE, SUBMIT = 2, 3, 4, 5
REPLY, DEFER, DEFER_UPDATE, UPDATE, CHOICES, MODAL = 4, 5, 6, 7, 8, 9
CALLBACKS = {COMMAND: {REPLY, DEFER, MODAL}, COMPONENT: {REPLY, DEFER, DEFER_UPDATE, UPDATE, MODAL}}
CALLBACKS |= {AUTOCOMPLETE: {CHOICES}, SUBMIT: {REPLY, DEFER, DEFER_UPDATE, UPDATE}}
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


class At(TypedDict, total=False):
    """Where an interaction happens, and in which languages; without a word, in the first guild's general channel."""

    where: Literal["guild", "dm", "user_install"]
    channel_id: int
    guild_id: int
    locale: str
    guild_locale: str


@dataclass
class Interaction:
    id: int
    token: str
    type: int
    user: Json
    created: float
    server: FakeDiscord
    channel_id: int
    owners: Json
    message: Json | None
    edited_before: str | None
    response: Json | None = None
    followups: list[Json] = field(default_factory=list)
    acked_after_s: float | None = None
    # what `submit` does again for a modal: who may what where, and the message whose component was used
    permissions: int = DEFAULT_PERMISSIONS
    at: At = field(default_factory=At)
    source: Json | None = None

    @property
    def modal(self) -> Json | None:
        """The modal that the bot opened: its custom_id, title and components."""
        return self.response["data"] if self.response and self.response["type"] == MODAL else None

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
