"""The gateway of the stand-in for Discord: connections, their frames, and sessions of one or more shards."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import zstandard
from aiohttp import WSMsgType, web

from tests.fakes.discord_payloads import (
    EPHEMERAL,
    INTENT_CONTENT,
    INTENT_DM_MESSAGES,
    INTENT_GUILD_MESSAGES,
    INTENT_GUILDS,
    PRIVILEGED_INTENTS,
    Json,
)
from tests.fakes.discord_world import World


class Wire:
    """One connection; a compressor lasts as long as it and is flushed after each message."""

    def __init__(self, ws: web.WebSocketResponse, transport: asyncio.BaseTransport | None, compress: str = "") -> None:
        self.ws, self.transport, self.compress = ws, transport, compress
        self.asked_at: float | None = None  # for a heartbeat that has not come yet
        self._pack: Callable[[bytes], bytes] | None = None
        if compress == "zlib-stream":
            deflate = zlib.compressobj()
            self._pack = lambda data: deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)
        elif compress == "zstd-stream":
            squeeze = zstandard.ZstdCompressor().compressobj()
            block = zstandard.COMPRESSOBJ_FLUSH_BLOCK
            self._pack = lambda data: squeeze.compress(data) + squeeze.flush(block)

    async def send(self, text: str) -> None:
        await (self.ws.send_str(text) if self._pack is None else self.ws.send_bytes(self._pack(text.encode())))

    async def send_json(self, data: Json) -> None:
        await self.send(json.dumps(data))


@dataclass
class Session:
    """A gateway session outlives its socket: what was sent is kept, so that RESUME can replay it."""

    id: str
    intents: int
    ws: Wire | None
    shard: int = 0
    shards: int = 1
    log: list[str] = field(default_factory=list)
    sent: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def serves(self, guild_id: int | None) -> bool:
        return self.shard == ((guild_id >> 22) % self.shards if guild_id else 0)

    async def flush(self) -> None:
        async with self.lock:
            while (wire := self.ws) is not None and self.sent < len(self.log):
                self.sent += 1
                try:
                    await wire.send(self.log[self.sent - 1])
                except ConnectionError:
                    self.ws = None if self.ws is wire else self.ws

    def cut(self) -> None:
        wire, self.ws = self.ws, None
        if wire is not None and isinstance(wire.transport, asyncio.WriteTransport):
            wire.transport.abort()


class Gateway(World):
    token = "fake-token"
    gateway_url: str

    def __init__(self) -> None:
        self.sessions: dict[int, Session] = {}  # by shard
        self.shards = 1
        self.identify_count = self.resume_count = 0
        self.granted_intents = PRIVILEGED_INTENTS
        self.plain_frames = False
        self.heartbeat_interval_s = 41.25
        self.heartbeats: list[tuple[int, float]] = []  # (number of the connection, time) of those sent unasked
        self.heartbeat_answers_s: list[float] = []  # how long each that was asked for took
        self._connections = 0
        self._changed = asyncio.Event()
        self._flushing: set[asyncio.Task[None]] = set()
        super().__init__()

    @property
    def session(self) -> Session | None:
        """That of the only shard, or of the first."""
        return self.sessions.get(0)

    # ---- what a test does

    async def drop_gateway(self, shard: int | None = None, *, forget_session: bool = False) -> None:
        """Cut the TCP connection; events keep queueing for RESUME unless the session is forgotten."""
        for which, session in list(self.sessions.items()):
            if shard in (None, which):
                session.cut()
                if forget_session:
                    del self.sessions[which]

    async def invalidate_session(self, shard: int = 0) -> None:
        wire = self._connection(shard)
        del self.sessions[shard]
        await wire.send_json({"op": 9, "d": False})

    async def request_reconnect(self, shard: int = 0) -> None:
        await self._connection(shard).send_json({"op": 7, "d": None})

    async def ask_heartbeat(self, shard: int = 0) -> None:
        """Ask for one at once, as Discord may: its answer shows how far behind the client is."""
        wire = self._connection(shard)
        wire.asked_at = wire.asked_at or time.monotonic()
        await wire.send_json({"op": 1, "d": None})

    def _connection(self, shard: int) -> Wire:
        session = self.sessions.get(shard)
        assert session is not None and session.ws is not None, "no client is connected"
        return session.ws

    # ---- the protocol

    async def _gateway(self, request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        wire = Wire(ws, request.transport, "" if self.plain_frames else request.query.get("compress", ""))
        self._connections += 1
        number = self._connections
        await wire.send_json({"op": 10, "d": {"heartbeat_interval": round(self.heartbeat_interval_s * 1000)}})
        async for frame in ws:
            if frame.type is not WSMsgType.TEXT:
                break
            message = json.loads(frame.data)
            op, data = message["op"], message["d"]
            if op == 1:
                self._hear_heartbeat(wire, number)
                await wire.send_json({"op": 11, "d": None})
            elif op in (2, 6) and data["token"] != self.token:
                await ws.close(code=4004)
            elif op == 2:
                await self._identify(wire, data)
            elif op == 6:
                await self._resume(wire, data)
        for session in self.sessions.values():
            session.ws = None if session.ws is wire else session.ws
        return ws

    def _hear_heartbeat(self, wire: Wire, connection: int) -> None:
        now, asked_at, wire.asked_at = time.monotonic(), wire.asked_at, None
        if asked_at is None:
            self.heartbeats.append((connection, now))
        else:
            self.heartbeat_answers_s.append(now - asked_at)

    async def _identify(self, wire: Wire, data: Json) -> None:
        shard, shards = data.get("shard") or (0, 1)
        if data["intents"] & PRIVILEGED_INTENTS & ~self.granted_intents:
            await wire.ws.close(code=4014)
        elif not 0 <= shard < shards:
            await wire.ws.close(code=4010)
        else:
            session = Session(uuid.uuid4().hex, data["intents"], wire, shard, shards)
            self.sessions[shard] = session
            self.identify_count += 1
            await self._welcome(session)

    async def _resume(self, wire: Wire, data: Json) -> None:
        session = next((s for s in self.sessions.values() if s.id == data["session_id"]), None)
        if session is None:
            await wire.send_json({"op": 9, "d": False})
            return
        self.resume_count += 1
        session.ws, session.sent = wire, data["seq"]
        await self._log(session, "RESUMED", {})

    async def _welcome(self, session: Session) -> None:
        inside = [g for g in self.guilds if g not in self._elsewhere and session.serves(g)]
        ready: Json = {"v": 10, "user": self.bot_user, "session_id": session.id}
        ready |= {"guilds": [{"id": str(g), "unavailable": True} for g in inside]}
        ready |= {"shard": [session.shard, session.shards], "resume_gateway_url": self.gateway_url + "-resume"}
        await self._log(session, "READY", ready | {"application": {"id": str(self.application_id), "flags": 0}})
        for guild_id in inside if session.intents & INTENT_GUILDS else []:
            await self._log(session, "GUILD_CREATE", self._guild_payload(guild_id))

    # ---- events

    async def _log(self, session: Session, event: str, data: Json) -> None:
        session.log.append(json.dumps({"op": 0, "s": len(session.log) + 1, "t": event, "d": data}))
        await session.flush()
        self._changed.set()

    async def _dispatch(self, event: str, data: Json, guild_id: int | None) -> None:
        """To the shard of a guild, or to the first for direct messages."""
        for session in list(self.sessions.values()):
            if session.serves(guild_id):
                await self._log(session, event, data)
        self._changed.set()

    def _announce(self, event: str, data: Json, guild_id: int | None) -> None:
        """Dispatch later, for what is not a coroutine; the order is kept."""
        if guild_id in self._elsewhere and event != "GUILD_DELETE":
            return
        for session in self.sessions.values():
            if session.serves(guild_id) and session.intents & INTENT_GUILDS:
                session.log.append(json.dumps({"op": 0, "s": len(session.log) + 1, "t": event, "d": data}))
                task = asyncio.get_running_loop().create_task(session.flush())
                self._flushing.add(task)
                task.add_done_callback(self._flushing.discard)

    async def _dispatch_message(self, event: str, message: Json) -> None:
        channel = self.channels.get(int(message["channel_id"]))
        # Discord never sends ephemeral messages over the gateway, nor those of where the bot is not
        if message["flags"] & EPHEMERAL or channel is None or not self._permissions(channel) & 1 << 10:
            return
        guild_id = int(message["guild_id"]) if "guild_id" in message else None
        needed = INTENT_GUILD_MESSAGES if guild_id else INTENT_DM_MESSAGES
        for session in list(self.sessions.values()):
            if session.serves(guild_id) and session.intents & needed:
                await self._log(session, event, self._as_seen(message, session))

    def _as_seen(self, message: Json, session: Session | None = None) -> Json:
        """What the bot may read: without the content intent, only its own, direct and mentioning messages."""
        session = session or next(iter(self.sessions.values()), None)
        readable = session is None or session.intents & INTENT_CONTENT or "guild_id" not in message
        own: list[Any] = [message["author"]["id"], message.get("application_id")]
        if readable or own[0] == str(self.bot_id) or own[1] == str(self.application_id):
            return message
        if self.bot_user in message["mentions"]:
            return message
        return message | {"content": "", "embeds": [], "attachments": [], "components": []}
