"""A stand-in for Discord on loopback: the REST API, the gateway and the CDN over real sockets.

It enforces the rules that bite bots (3 s to acknowledge, 15 minutes per interaction token, one callback, 2000
characters, the message-content intent, exact Content-Type) and lets a test act as the members of one server.
"""

# ruff: noqa: ASYNC109 - callers read better with a timeout argument than with a context manager each
from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from tests.fakes.discord_payloads import (
    ACK_LIMIT_S,
    AUTOCOMPLETE,
    COMMAND,
    COMPONENT,
    DEFAULT_PERMISSIONS,
    EPHEMERAL,
    INTENT_CONTENT,
    INTENT_DM_MESSAGES,
    INTENT_GUILD_MESSAGES,
    INTENT_GUILDS,
    LOADING,
    MANAGE_GUILD,
    PRIVILEGED_INTENTS,
    Interaction,
    Json,
    Session,
    Upload,
    now_iso,
    snowflake,
    walk,
)
from tests.fakes.discord_rest import DiscordRest

__all__ = ["DEFAULT_PERMISSIONS", "EPHEMERAL", "INTENT_CONTENT", "LOADING", "MANAGE_GUILD", "FakeDiscord"]


class FakeDiscord(DiscordRest):
    token = "fake-token"

    def __init__(self) -> None:
        self.application_id, self.bot_id, self.guild_id = snowflake(), snowflake(), snowflake()
        self.channel_id, self.member_id = snowflake(), snowflake()
        self.users: dict[int, Json] = {}
        self.bot_user = self._user(self.bot_id, "mockingbird", bot=True)
        self.member_user = self._user(self.member_id, "member")
        channel = {"id": str(self.channel_id), "type": 0, "name": "general", "guild_id": str(self.guild_id)}
        channel |= {"position": 0, "permission_overwrites": [], "nsfw": False, "parent_id": None, "topic": None}
        self.channels: dict[int, Json] = {self.channel_id: channel}
        self.messages: dict[int, Json] = {}
        self.interactions: dict[str, Interaction] = {}
        self.files: dict[int, Upload] = {}
        self.edits: list[tuple[int, Json]] = []
        self.requests: list[tuple[str, str, Any]] = []
        self.unknown_routes: list[str] = []
        self.commands: list[Json] | None = None
        self.commands_put_count = self.identify_count = self.resume_count = 0
        self.clock_offset_s = 0.0
        self.granted_intents = PRIVILEGED_INTENTS
        self.attachment_size_limit = 10 * 1024 * 1024
        self.session: Session | None = None
        self._command_sets: dict[int | None, list[Json]] = {}
        self._failures: list[Json] = []
        self._nonces: dict[str, Json] = {}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> FakeDiscord:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self.gateway_url = self.url.replace("http", "ws") + "/gw"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drop_gateway()
        await self._runner.cleanup()

    # ---- what a test does

    async def wait_for(self, predicate: Callable[[], Any], timeout: float = 10, *, what: str = "the condition") -> Any:
        deadline = time.monotonic() + timeout
        while not (value := predicate()):
            if time.monotonic() > deadline:
                recent = "\n".join(f"  {m} {p} {str(b)[:160]}" for m, p, b in self.requests[-15:])
                raise AssertionError(f"waited {timeout} s for {what}; the last requests were:\n{recent or '  none'}")
            self._changed.clear()
            # what the predicate looks at may change without the server knowing, so look again without being told
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 0.05)
        return value

    async def wait_ready(self, timeout: float = 15) -> None:
        await self.wait_for(lambda: self.session and self.session.ws, timeout, what="a client on the gateway")

    async def say(
        self,
        content: str,
        *,
        mention_bot: bool = False,
        reply_to: int | None = None,
        ping_reply: bool = True,
        author_id: int | None = None,
        bot: bool = False,
    ) -> int:
        author = self._user(author_id or (snowflake() if bot else self.member_id), bot=bot)
        payload: Json = {"content": f"<@{self.bot_id}> {content}" if mention_bot else content}
        if reply_to is not None:
            payload["message_reference"] = {"message_id": reply_to}
            payload["allowed_mentions"] = {"parse": ["users", "everyone"], "replied_user": ping_reply}
        return int((await self._create(self.channel_id, author, payload))["id"])

    async def slash(
        self,
        name: str,
        options: Json | None = None,
        *,
        subcommand: str = "",
        attachments: dict[str, Upload] | None = None,
        permissions: int = DEFAULT_PERMISSIONS,
        member_id: int | None = None,
    ) -> Interaction:
        """Invoke a registered command; a subcommand in a group is written "group sub"."""
        options = (options or {}) | {key: self._store(*file) for key, file in (attachments or {}).items()}
        return await self._interact(COMMAND, self._command(name, options, subcommand), member_id, permissions)

    async def autocomplete(
        self, name: str, option: str, value: Any, options: Json | None = None, *, subcommand: str = "", **who: Any
    ) -> list[Json]:
        """The choices that the bot offers while a member types `value`; `who`: member_id, permissions."""
        data = self._command(name, {**(options or {}), option: value}, subcommand, focused=option)
        asked = await self._interact(AUTOCOMPLETE, data, **who)
        return (await self.wait_for(lambda: asked.response, ACK_LIMIT_S, what="choices"))["data"]["choices"]

    async def click(
        self, message_id: int, custom_id: str, member_id: int | None = None, permissions: int = DEFAULT_PERMISSIONS
    ) -> Interaction:
        message = self.messages[message_id]
        found = [c for c in walk(message["components"]) if c.get("custom_id") == custom_id]
        assert found, f"message {message_id} has no component {custom_id!r}: {message['components']}"
        assert not found[0].get("disabled"), f"component {custom_id!r} is disabled"
        data = {"custom_id": custom_id, "component_type": found[0]["type"]}
        return await self._interact(COMPONENT, data, member_id, permissions, message)

    def fail_next(
        self, method: str, path_regex: str, status: int, body: Any = None, headers: Any = None, times: int = 1
    ) -> None:
        """Script failures for paths (without /api/v10) that match; status 0 cuts the connection unanswered."""
        limited = status == 429
        if body is None:
            body = {"code": 0, "message": f"scripted {status}"}
            body |= {"retry_after": 0.1, "global": False} if limited else {}
        if headers is None:
            headers = {"Via": "1.1 google"} if limited else {}
        answer = (status, body, headers)
        self._failures += [{"method": method, "path": path_regex, "answer": answer} for _ in range(times)]

    async def drop_gateway(self, *, forget_session: bool = False) -> None:
        """Cut the TCP connection; events keep queueing for RESUME unless the session is forgotten."""
        if (session := self.session) is not None and session.transport is not None:
            session.ws, transport, session.transport = None, session.transport, None
            transport.abort()
        self.session = None if forget_session else session

    async def invalidate_session(self) -> None:
        session, self.session = self.session, None
        assert session is not None and session.ws is not None, "no client is connected"
        await session.ws.send_json({"op": 9, "d": False})

    async def request_reconnect(self) -> None:
        assert self.session is not None and self.session.ws is not None, "no client is connected"
        await self.session.ws.send_json({"op": 7, "d": None})

    # ---- gateway

    async def _gateway(self, request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(compress=False)
        await ws.prepare(request)
        await ws.send_json({"op": 10, "d": {"heartbeat_interval": 41250}})
        async for frame in ws:
            if frame.type is not WSMsgType.TEXT:
                break
            message = json.loads(frame.data)
            op, data = message["op"], message["d"]
            if op == 1:
                await ws.send_json({"op": 11, "d": None})
            elif op in (2, 6) and data["token"] != self.token:
                await ws.close(code=4004)
            elif op == 2 and data["intents"] & PRIVILEGED_INTENTS & ~self.granted_intents:
                await ws.close(code=4014)
            elif op == 2:
                self.session = Session(uuid.uuid4().hex, data["intents"], ws, request.transport)
                await self._welcome(self.session)
            elif op == 6 and (self.session is None or self.session.id != data["session_id"]):
                await ws.send_json({"op": 9, "d": False})
            elif op == 6:
                self.resume_count += 1
                self.session.ws, self.session.transport, self.session.sent = ws, request.transport, data["seq"]
                await self._dispatch("RESUMED", {})
        if self.session is not None and self.session.ws is ws:
            self.session.ws = None
        return ws

    async def _welcome(self, session: Session) -> None:
        self.identify_count += 1
        guild: Json = {"id": str(self.guild_id), "unavailable": True}
        ready = {"v": 10, "user": self.bot_user, "guilds": [guild], "session_id": session.id, "shard": [0, 1]}
        ready |= {"resume_gateway_url": self.gateway_url + "-resume"}
        await self._dispatch("READY", ready | {"application": {"id": str(self.application_id), "flags": 0}})
        everyone = {"id": guild["id"], "name": "@everyone", "permissions": str(DEFAULT_PERMISSIONS), "position": 0}
        everyone |= {"color": 0, "hoist": False, "managed": False, "mentionable": False, "flags": 0}
        guild |= {"name": "guild", "owner_id": str(self.member_id), "unavailable": False, "member_count": 2}
        guild |= {"roles": [everyone], "channels": [self.channels[self.channel_id]]}
        guild |= {"members": [self._member(self.bot_user), self._member(self.member_user)]}
        guild |= {key: [] for key in ("emojis", "features", "threads", "presences", "voice_states")}
        if session.intents & INTENT_GUILDS:
            await self._dispatch("GUILD_CREATE", guild)

    async def _dispatch(self, event: str, data: Json) -> None:
        if (session := self.session) is not None:
            session.log.append(json.dumps({"op": 0, "s": len(session.log) + 1, "t": event, "d": data}))
            await session.flush()
        self._changed.set()

    async def _dispatch_message(self, event: str, message: Json) -> None:
        needed = INTENT_GUILD_MESSAGES if "guild_id" in message else INTENT_DM_MESSAGES
        # Discord never sends ephemeral messages over the gateway
        if self.session is not None and self.session.intents & needed and not message["flags"] & EPHEMERAL:
            await self._dispatch(event, self._as_seen(message))

    # ---- interactions and who takes part

    def _command(self, name: str, options: Json, subcommand: str, focused: str = "") -> Json:
        everywhere = [*self._command_sets.get(self.guild_id, []), *self._command_sets.get(None, [])]
        command = next((c for c in everywhere if c["name"] == name and c["type"] == 1), None)
        assert command is not None, f"/{name} is not registered: {[c['name'] for c in everywhere]}"
        path, known = [], {o["name"]: o for o in command["options"]}
        for part in subcommand.split():
            assert part in known, f"/{name} has no subcommand {part!r} but {list(known)}"
            path.append({"type": known[part]["type"], "name": part})
            known = {o["name"]: o for o in known[part].get("options", [])}
        assert options.keys() <= known.keys(), f"/{name} has the options {list(known)}, not {list(options)}"
        missing = [n for n, o in known.items() if (o.get("required") or o["type"] in (1, 2)) and n not in options]
        assert focused or not missing, f"/{name} requires {missing}"
        resolved: Json = {"attachments": {}, "users": {}, "members": {}, "channels": {}}
        nested: list[Json] = []
        for key, value in options.items():
            kind = known[key]["type"]
            if kind == 11:
                resolved["attachments"][value["id"]] = value | {"ephemeral": True}
                value = value["id"]
            elif kind == 6:
                resolved["users"][str(value)] = self._user(int(value))
                resolved["members"][str(value)] = self._member() | {"permissions": str(DEFAULT_PERMISSIONS)}
            elif kind == 7:
                resolved["channels"][str(value)] = self.channels[int(value)] | {"permissions": str(MANAGE_GUILD)}
            value = str(value) if kind in (6, 7, 8) else value
            nested.append({"type": kind, "name": key, "value": value} | ({"focused": True} if key == focused else {}))
        for step in reversed(path):
            nested = [step | {"options": nested}]
        data = {"id": command["id"], "name": name, "type": 1, "options": nested, "resolved": resolved}
        return data | ({"guild_id": command["guild_id"]} if "guild_id" in command else {})

    async def _interact(
        self,
        kind: int,
        data: Json,
        member_id: int | None = None,
        permissions: int = DEFAULT_PERMISSIONS,
        message: Json | None = None,
    ) -> Interaction:
        made_id, token, user = snowflake(), f"token-{uuid.uuid4().hex}", self._user(member_id or self.member_id)
        before = message["edited_timestamp"] if message else None
        made = Interaction(made_id, token, kind, user, self._clock(), self, message, before)
        self.interactions[token] = made
        payload = {"id": str(made_id), "type": kind, "token": token, "version": 1, "data": data, "context": 0}
        payload |= {"application_id": str(self.application_id), "attachment_size_limit": self.attachment_size_limit}
        payload |= {"guild_id": str(self.guild_id), "guild": {"id": str(self.guild_id), "features": []}}
        payload |= {"channel_id": str(self.channel_id), "channel": self.channels[self.channel_id]}
        payload |= {"member": self._member(user) | {"permissions": str(permissions)}, "entitlements": []}
        payload |= {"app_permissions": str(MANAGE_GUILD), "locale": "en-US", "guild_locale": "en-US"}
        payload |= {"authorizing_integration_owners": {"0": str(self.guild_id)}}
        await self._dispatch("INTERACTION_CREATE", payload | ({"message": message} if message else {}))
        return made

    def _user(self, user_id: int, name: str = "", *, bot: bool = False) -> Json:
        made = {"id": str(user_id), "username": name or f"user{user_id % 10000}", "discriminator": "0"}
        return self.users.setdefault(user_id, made | {"global_name": None, "avatar": None, "bot": bot})

    def _member(self, user: Json | None = None) -> Json:
        return {"roles": [], "flags": 0, "joined_at": now_iso(), "nick": None} | ({"user": user} if user else {})
