"""A stand-in for Discord on loopback: the REST API, the gateway and the CDN over real sockets.

It enforces the rules that bite bots (3 s to acknowledge, 15 minutes per interaction token, one callback, 2000
characters, the message-content intent, exact Content-Type) and lets a test act as the members of one server.
"""

# ruff: noqa: ASYNC109 - callers read better with a timeout argument than with a context manager each
from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import mimetypes
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import WSMsgType, web

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


def _now_iso() -> str:
    return datetime.now(UTC).isoformat()


def _walk(components: list[Json]) -> Iterator[Json]:
    for component in components:
        yield component
        nested = [component.get("accessory"), component.get("component"), *component.get("components", [])]
        yield from _walk([c for c in nested if c])


class ApiError(Exception):
    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.body = status, {"code": code, "message": message}


def _invalid(where: str, why: str) -> ApiError:
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


@dataclass
class Call:
    method: str
    query: Any
    body: Any
    files: list[Upload]


_ROUTES: list[tuple[re.Pattern[str], Callable[..., Any]]] = []


def route(methods: str, path: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(handler: Callable[..., Any]) -> Callable[..., Any]:
        pattern = path.replace("{id}", r"(\d+)").replace("{token}", r"([^/]+)")
        _ROUTES.append((re.compile(f"(?:{methods}) {pattern}"), handler))
        return handler

    return register


class FakeDiscord:
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
        found = [c for c in _walk(message["components"]) if c.get("custom_id") == custom_id]
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

    # ---- HTTP

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path, body, files = request.path.removeprefix("/api/v10"), None, []
        if request.content_type == "application/json":
            body = json.loads(await request.read() or b"null")
        elif request.content_type == "multipart/form-data":
            async for part in await request.multipart():
                data = bytes(await part.read())
                if part.name == "payload_json":
                    body = json.loads(data)
                else:
                    files.append((part.filename, data))
        self.requests.append((request.method, path, body))
        try:
            for failure in self._failures:
                if failure["method"] == request.method and re.search(failure["path"], path):
                    self._failures.remove(failure)
                    if failure["answer"][0] == 0 and request.transport is not None:
                        request.transport.abort()
                    return self._respond(*failure["answer"])
            if path.startswith("/gw"):
                return await self._gateway(request)
            if path.startswith("/cdn/attachments/"):
                name, data = self.files.get(int(path.split("/")[3]), ("", b""))
                return web.Response(body=data, status=200 if path.endswith(f"/{name}") and name else 404)
            result = await self._handle(request, path, Call(request.method, request.query, body, files))
            return web.Response(status=204) if result is None else self._respond(200, result)
        except ApiError as error:
            return self._respond(error.status, error.body)
        finally:
            self._changed.set()

    def _respond(self, status: int, body: Any, headers: dict[str, str] | None = None) -> web.Response:
        if isinstance(body, str):
            return web.Response(status=status or 500, text=body, content_type="text/html", headers=headers)
        # discord.py only parses a Content-Type without a charset, which aiohttp's json_response would add
        headers = {"Content-Type": "application/json", **(headers or {})}
        return web.Response(status=status or 500, body=json.dumps(body).encode(), headers=headers)

    async def _handle(self, request: web.Request, path: str, call: Call) -> Any:
        by_token = re.match(r"/interactions/|/webhooks/\d+/", path)
        if not by_token and request.headers.get("Authorization") != f"Bot {self.token}":
            raise ApiError(401, 0, "401: Unauthorized")
        for pattern, handler in _ROUTES:
            if found := pattern.fullmatch(f"{call.method} {path}"):
                return await handler(self, call, *(int(g) if g and g.isdigit() else g for g in found.groups()))
        self.unknown_routes.append(f"{call.method} {path}")
        raise ApiError(404, 0, "404: Not Found")

    @route("GET", "/(users/@me|oauth2/applications/@me|gateway/bot)")
    async def _about(self, call: Call, what: str) -> Json:
        if what == "users/@me":
            return self.bot_user
        if what == "gateway/bot":
            limit = {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 1}
            return {"url": self.gateway_url, "shards": 1, "session_start_limit": limit}
        about = {"id": str(self.application_id), "name": "mockingbird", "icon": None, "description": "", "team": None}
        about |= {"bot_public": True, "bot_require_code_grant": False, "verify_key": "0" * 64, "flags": 0}
        return about | {"owner": self.member_user}

    @route("GET|PUT", "/applications/{id}(?:/guilds/{id})?/commands")
    async def _commands(self, call: Call, application: int, guild: int | None) -> list[Json]:
        known = self._command_sets.setdefault(guild, [])
        if call.method == "PUT":
            ids = {(c["type"], c["name"]): c["id"] for c in known}
            scope = {"application_id": str(self.application_id)} | ({"guild_id": str(guild)} if guild else {})
            blank = scope | {"type": 1, "description": "", "options": [], "version": str(snowflake())}
            made = [blank | sent for sent in call.body]
            known = [c | {"id": ids.get((c["type"], c["name"]), str(snowflake()))} for c in made]
            self.commands = self._command_sets[guild] = known
            self.commands_put_count += 1
        return known

    @route("POST", "/interactions/{id}/{token}/callback")
    async def _callback(self, call: Call, interaction_id: int, token: str) -> Json | None:
        interaction, kind = self.interactions.get(token), call.body["type"]
        age = self._clock() - interaction.created if interaction else 0.0
        if interaction is None or interaction.id != interaction_id or (not interaction.response and age > ACK_LIMIT_S):
            raise ApiError(404, 10062, "Unknown interaction")
        if interaction.response is not None:
            raise ApiError(400, 40060, "Interaction has already been acknowledged.")
        if kind not in CALLBACKS[interaction.type]:
            raise _invalid("type", f"Callback type {kind} does not answer interaction type {interaction.type}.")
        data = call.body.get("data") or {}
        if kind == CHOICES:
            texts = [str(choice[key]) for choice in data["choices"] for key in ("name", "value")]
            if len(data["choices"]) > 25 or not all(1 <= len(text) <= 100 for text in texts):
                raise _invalid("data.choices", "Must be 25 or fewer, each 1-100 in length.")
        # taken before anything is awaited, so that of two callbacks at once one is refused
        interaction.response, interaction.acked_after_s = call.body, age
        try:
            if kind in (REPLY, DEFER):
                data = data if kind == REPLY else {"flags": data.get("flags", 0) | LOADING}
                interaction.message = await self._create(self.channel_id, self.bot_user, data, call.files, interaction)
            elif kind == UPDATE and interaction.message is not None:
                await self._edit(interaction.message, data, call.files)
        except ApiError:
            interaction.response = interaction.acked_after_s = None
            raise
        if call.query.get("with_response", "0") not in ("1", "true"):
            return None
        about: Json = {"id": str(interaction_id), "type": interaction.type}
        resource: Json = {"type": kind}
        if (message := interaction.message) is not None and kind != MODAL:
            loading, ephemeral = bool(message["flags"] & LOADING), bool(message["flags"] & EPHEMERAL)
            about |= {"response_message_id": message["id"], "response_message_loading": loading}
            about |= {"response_message_ephemeral": ephemeral}
            resource |= {"message": message} if kind in (REPLY, UPDATE) else {}
        return {"interaction": about, "resource": resource}

    @route("POST", "/webhooks/{id}/{token}")
    async def _followup(self, call: Call, application: int, token: str) -> Json | None:
        interaction = self._interaction(token)
        original = interaction.message
        if original is not None and original["flags"] & LOADING:
            # documented oddity: the first followup after a defer fills in the original, its flags ignored
            return await self._edit(original, {k: v for k, v in call.body.items() if k != "flags"}, call.files)
        message = await self._create(self.channel_id, self.bot_user, call.body, call.files, interaction)
        interaction.followups.append(message)
        return message if call.query.get("wait") in ("1", "true") else None

    @route("GET|PATCH|DELETE", "/webhooks/{id}/{token}/messages/(@original|[0-9]+)")
    async def _response(self, call: Call, application: int, token: str, which: int | str) -> Json | None:
        interaction = self._interaction(token)
        known = [interaction.message] if which == "@original" else [interaction.message, *interaction.followups]
        alive = [m for m in known if m and int(m["id"]) in self.messages and which in ("@original", int(m["id"]))]
        if not alive:
            raise ApiError(404, 10008, "Unknown Message")
        if call.method == "DELETE" and alive[0] is interaction.message:
            interaction.message = None
        return await self._apply(call, alive[0])

    @route("GET|PATCH|DELETE", "/channels/{id}/messages/{id}")
    async def _message(self, call: Call, channel_id: int, message_id: int) -> Json | None:
        message = self.messages.get(message_id)
        if message is None or not self._is_listed(message, channel_id):
            raise ApiError(404, 10008, "Unknown Message")
        if call.method != "GET" and message["author"] is not self.bot_user:
            raise ApiError(403, 50005 if call.method == "PATCH" else 50013, "The message is another user's")
        result = await self._apply(call, message)
        self.edits += [(message_id, call.body)] if call.method == "PATCH" else []
        return result

    @route("GET", "/channels/{id}")
    async def _channel(self, call: Call, channel_id: int) -> Json:
        if channel_id not in self.channels:
            raise ApiError(404, 10003, "Unknown Channel")
        return self.channels[channel_id]

    @route("POST", "/channels/{id}/typing")
    async def _typing(self, call: Call, channel_id: int) -> None:
        await self._channel(call, channel_id)

    @route("POST", "/users/@me/channels")
    async def _open_dm(self, call: Call) -> Json:
        user = self._user(int(call.body["recipient_id"]))
        made = {"id": str(snowflake()), "type": 1, "recipients": [user]}
        found = next((c for c in self.channels.values() if c.get("recipients") == [user]), made)
        return self.channels.setdefault(int(found["id"]), found)

    @route("GET|POST", "/channels/{id}/messages")
    async def _messages(self, call: Call, channel_id: int) -> Json | list[Json]:
        await self._channel(call, channel_id)
        if call.method == "GET":
            before, after = int(call.query.get("before", 1 << 63)), int(call.query.get("after", 0))
            ids = [i for i, m in self.messages.items() if self._is_listed(m, channel_id) and after < i < before]
            limit = int(call.query.get("limit", 50))
            ids = ids[:limit] if "after" in call.query else ids[-limit:]
            return [self._as_seen(self.messages[i]) for i in reversed(ids)]
        nonce = str(call.body.get("nonce")) if call.body.get("enforce_nonce") else uuid.uuid4().hex
        if nonce not in self._nonces:
            self._nonces[nonce] = await self._create(channel_id, self.bot_user, call.body, call.files)
        return self._nonces[nonce]

    # ---- messages

    def _is_listed(self, message: Json, channel_id: int) -> bool:
        return message["channel_id"] == str(channel_id) and not message["flags"] & EPHEMERAL

    def _as_seen(self, message: Json) -> Json:
        """What the bot may read: without the content intent, only its own, direct and mentioning messages."""
        readable = self.session is None or self.session.intents & INTENT_CONTENT or "guild_id" not in message
        if readable or message["author"] is self.bot_user or self.bot_user in message["mentions"]:
            return message
        return message | {"content": "", "embeds": [], "attachments": [], "components": []}

    def _content(self, payload: Json, files: list[Upload], old: Json) -> Json:
        """The fields that a payload sets, refused as Discord would before anything is stored."""
        new: Json = {key: payload.get(key, old[key]) or [] for key in ("embeds", "components")}
        content = new["content"] = payload.get("content", old["content"]) or ""
        if len(content) > 2000:
            raise _invalid("content", "Must be 2000 or fewer in length.")
        if any(len(c.get("custom_id") or "") > 100 or len(c.get("label") or "") > 80 for c in _walk(new["components"])):
            raise _invalid("components", "custom_id is at most 100 and label at most 80 in length.")
        if len(new["embeds"]) > 10 or any(len(e.get("description") or "") > 4096 for e in new["embeds"]):
            raise _invalid("embeds", "Must be 10 or fewer, each description 4096 or fewer in length.")
        if sum(len(data) for _, data in files) > self.attachment_size_limit:
            raise ApiError(413, 40005, "Request entity too large")
        allowed = payload.get("allowed_mentions") or {"parse": ["users", "everyone"], "replied_user": True}
        named = {int(i) for i in re.findall(r"<@!?(\d+)>", content)} & self.users.keys()
        if "users" not in allowed.get("parse", []):
            named &= {int(i) for i in allowed.get("users", [])}
        if allowed.get("replied_user") and old.get("referenced_message"):
            named.add(int(old["referenced_message"]["author"]["id"]))
        new["mentions"] = [self.users[i] for i in sorted(named)]
        new["mention_everyone"] = bool(re.search("@everyone|@here", content)) and "everyone" in allowed.get("parse", [])
        keep = [str(a["id"]) for a in payload.get("attachments", old["attachments"]) or []]
        new["attachments"] = [a for a in old["attachments"] if a["id"] in keep]
        if not (any(new.values()) or files or payload.get("flags", 0) & LOADING):
            raise ApiError(400, 50006, "Cannot send an empty message")
        new["attachments"] += [self._store(*file) for file in files]
        return new

    async def _create(
        self, channel_id: int, author: Json, payload: Json, files: Any = (), interaction: Interaction | None = None
    ) -> Json:
        message: Json = {"id": str(snowflake()), "type": 0, "channel_id": str(channel_id), "author": author}
        message |= {"timestamp": _now_iso(), "edited_timestamp": None, "tts": False, "pinned": False}
        message |= {"mention_roles": [], "flags": payload.get("flags") or 0, "nonce": payload.get("nonce")}
        if self.channels[channel_id]["type"] == 0:
            message |= {"guild_id": str(self.guild_id), "member": self._member(author)}
        if reference := payload.get("message_reference"):
            target = self.messages.get(int(reference["message_id"]))
            if target is None and reference.get("fail_if_not_exists", True):
                raise _invalid("message_reference", "Unknown message")
            where = {"message_id": str(reference["message_id"]), "channel_id": str(channel_id)}
            message |= {"type": 19, "message_reference": where, "referenced_message": target}
        if interaction is not None:
            about = {"id": str(interaction.id), "type": interaction.type, "user": interaction.user}
            message |= {"interaction_metadata": about | {"authorizing_integration_owners": {}}}
            message |= {"webhook_id": str(self.application_id), "application_id": str(self.application_id)}
            message["type"] = 20 if interaction.type == COMMAND and interaction.message is None else 0
        message = {"content": "", "embeds": [], "components": [], "attachments": []} | message
        message |= self._content(payload, files, message)
        self.messages[int(message["id"])] = message
        await self._dispatch_message("MESSAGE_CREATE", message)
        return message

    async def _edit(self, message: Json, payload: Json, files: list[Upload]) -> Json:
        message |= self._content(payload, files, message)
        flags = (payload.get("flags") or message["flags"]) & ~(EPHEMERAL | LOADING) | message["flags"] & EPHEMERAL
        message |= {"edited_timestamp": _now_iso(), "flags": flags}
        await self._dispatch_message("MESSAGE_UPDATE", message)
        return message

    async def _apply(self, call: Call, message: Json) -> Json | None:
        if call.method == "GET":
            return self._as_seen(message)
        if call.method == "PATCH":
            return await self._edit(message, call.body, call.files)
        del self.messages[int(message["id"])]
        await self._dispatch_message("MESSAGE_DELETE", message)
        return None

    def _store(self, filename: str, data: bytes) -> Json:
        file_id, filename = snowflake(), re.sub(r"[^\w.-]", "_", filename)
        self.files[file_id] = (filename, data)
        url = f"{self.url}/cdn/attachments/{file_id}/{filename}"
        made = {"id": str(file_id), "filename": filename, "size": len(data), "url": url, "proxy_url": url}
        return made | {"content_type": mimetypes.guess_type(filename)[0], "ephemeral": False}

    # ---- interactions and who takes part

    def _clock(self) -> float:
        return time.monotonic() + self.clock_offset_s

    def _interaction(self, token: str) -> Interaction:
        found = self.interactions.get(token)
        if found is None or self._clock() - found.created > TOKEN_LIMIT_S:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        if found.response is None:
            raise ApiError(404, 10015, "Unknown Webhook")
        return found

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
        return {"roles": [], "flags": 0, "joined_at": _now_iso(), "nick": None} | ({"user": user} if user else {})
