"""The REST API and the CDN of the stand-in for Discord: routes, and messages checked as Discord checks them."""

from __future__ import annotations

import asyncio
import json
import mimetypes
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.fakes.discord_payloads import (
    ACK_LIMIT_S,
    CALLBACKS,
    CHOICES,
    COMMAND,
    DEFER,
    EPHEMERAL,
    INTENT_CONTENT,
    LOADING,
    MODAL,
    REPLY,
    TOKEN_LIMIT_S,
    UPDATE,
    ApiError,
    Interaction,
    Json,
    Session,
    Upload,
    invalid,
    now_iso,
    snowflake,
    walk,
)


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


class DiscordRest:
    """The half of FakeDiscord that answers HTTP requests; the state is FakeDiscord's."""

    # set by FakeDiscord
    token: str
    url: str
    gateway_url: str
    application_id: int
    guild_id: int
    channel_id: int
    bot_user: Json
    member_user: Json
    users: dict[int, Json]
    channels: dict[int, Json]
    messages: dict[int, Json]
    interactions: dict[str, Interaction]
    files: dict[int, Upload]
    session: Session | None
    edits: list[tuple[int, Json]]
    requests: list[tuple[str, str, Any]]
    unknown_routes: list[str]
    commands: list[Json] | None
    commands_put_count: int
    clock_offset_s: float
    attachment_size_limit: int
    _command_sets: dict[int | None, list[Json]]
    _failures: list[Json]
    _nonces: dict[str, Json]
    _changed: asyncio.Event
    _dispatch_message: Callable[[str, Json], Awaitable[None]]
    _gateway: Callable[[web.Request], Awaitable[web.StreamResponse]]
    _user: Callable[[int], Json]
    _member: Callable[[Json], Json]

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
            raise invalid("type", f"Callback type {kind} does not answer interaction type {interaction.type}.")
        data = call.body.get("data") or {}
        if kind == CHOICES:
            texts = [str(choice[key]) for choice in data["choices"] for key in ("name", "value")]
            if len(data["choices"]) > 25 or not all(1 <= len(text) <= 100 for text in texts):
                raise invalid("data.choices", "Must be 25 or fewer, each 1-100 in length.")
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
            raise invalid("content", "Must be 2000 or fewer in length.")
        if any(len(c.get("custom_id") or "") > 100 or len(c.get("label") or "") > 80 for c in walk(new["components"])):
            raise invalid("components", "custom_id is at most 100 and label at most 80 in length.")
        if len(new["embeds"]) > 10 or any(len(e.get("description") or "") > 4096 for e in new["embeds"]):
            raise invalid("embeds", "Must be 10 or fewer, each description 4096 or fewer in length.")
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
        self,
        channel_id: int,
        author: Json,
        payload: Json,
        files: Any = (),
        interaction: Interaction | None = None,
    ) -> Json:
        message: Json = {"id": str(snowflake()), "type": 0, "channel_id": str(channel_id), "author": author}
        message |= {"timestamp": now_iso(), "edited_timestamp": None, "tts": False, "pinned": False}
        message |= {"mention_roles": [], "flags": payload.get("flags") or 0, "nonce": payload.get("nonce")}
        if self.channels[channel_id]["type"] == 0:
            message |= {"guild_id": str(self.guild_id), "member": self._member(author)}
        if reference := payload.get("message_reference"):
            target = self.messages.get(int(reference["message_id"]))
            if target is None and reference.get("fail_if_not_exists", True):
                raise invalid("message_reference", "Unknown message")
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
        message |= {"edited_timestamp": now_iso(), "flags": flags}
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

    # ---- interactions that are open

    def _clock(self) -> float:
        return time.monotonic() + self.clock_offset_s

    def _interaction(self, token: str) -> Interaction:
        found = self.interactions.get(token)
        if found is None or self._clock() - found.created > TOKEN_LIMIT_S:
            raise ApiError(401, 50027, "Invalid Webhook Token")
        if found.response is None:
            raise ApiError(404, 10015, "Unknown Webhook")
        return found
