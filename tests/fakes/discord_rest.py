"""The REST API and the CDN of the stand-in for Discord: how requests are served, refused and made to fail."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import Any

from aiohttp import web

from tests.fakes.discord_limits import request_problems
from tests.fakes.discord_openapi import schema_problems
from tests.fakes.discord_payloads import ApiError, Json, invalid, snowflake
from tests.fakes.discord_routes import ROUTES, Call, route
from tests.fakes.discord_webhooks import Webhooks
from tests.fakes.discord_world import THREADS


class DiscordRest(Webhooks):
    """The half of FakeDiscord that answers HTTP requests."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        self.unknown_routes: list[str] = []
        self.violations: list[str] = []
        self.commands: list[Json] | None = None
        self.commands_put_count = 0
        self.command_permissions: dict[int, list[Json]] = {}
        self.delay_s = 0.0
        self._down = False
        self._vanished: set[str] = set()
        self._command_sets: dict[int | None, list[Json]] = {}
        self._failures: list[Json] = []
        super().__init__()

    # ---- faults

    def fail_next(
        self, method: str, path_regex: str, status: int, body: Any = None, headers: Any = None, times: int = 1
    ) -> None:
        """Script failures for paths (without /api/v10) that match; status 0 cuts the connection unanswered.

        A 429 comes from Discord, with Via; from Cloudflare with headers={}.
        """
        limited = status == 429
        if body is None:
            body = {"code": 0, "message": f"scripted {status}"}
            body |= {"retry_after": 0.1, "global": False} if limited else {}
        if headers is None:
            headers = {"Via": "1.1 google"} if limited else {}
        answer = (status, body, headers)
        self._failures += [{"method": method, "path": path_regex, "answer": answer} for _ in range(times)]

    def vanish(self, file: str | int) -> None:
        """From now on the CDN has no file of this name or id."""
        self._vanished.add(str(file))

    @property
    def down(self) -> bool:
        """Whether every request and connection is cut, without a word."""
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        self._down = down
        for session in self.sessions.values() if down else ():
            session.cut()

    # ---- serving

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path, body, files = request.path.removeprefix("/api/v10"), None, []
        if self.down:
            return self._cut(request)
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
            if path.startswith("/gw"):
                return self._failure(request, path) or await self._gateway(request)
            response = self._failure(request, path) or await self._answer(request, path, body, files)
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            return self._cut(request) if self.down else response
        finally:
            self._changed.set()

    def _cut(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    def _failure(self, request: web.Request, path: str) -> web.StreamResponse | None:
        for failure in self._failures:
            if failure["method"] == request.method and re.search(failure["path"], path):
                self._failures.remove(failure)
                return self._respond(*failure["answer"]) if failure["answer"][0] else self._cut(request)
        return None

    async def _answer(self, request: web.Request, path: str, body: Any, files: Any) -> web.StreamResponse:
        if path.startswith("/cdn/attachments/"):
            file_id = path.split("/")[3]
            name, data = self.files.get(int(file_id), ("", b""))
            there = name and path.endswith(f"/{name}") and not {name, file_id} & self._vanished
            return web.Response(body=data if there else b"", status=200 if there else 404)
        try:
            call = Call(request.method, request.query, body, files)
            result = await self._handle(request, path, call)
            return web.Response(status=204) if result is None else self._respond(200, result)
        except ApiError as error:
            return self._respond(error.status, error.body)

    def _respond(self, status: int, body: Any, headers: dict[str, str] | None = None) -> web.Response:
        if isinstance(body, str):
            return web.Response(status=status, text=body, content_type="text/html", headers=headers)
        # discord.py only parses a Content-Type without a charset, which aiohttp's json_response would add
        headers = {"Content-Type": "application/json", **(headers or {})}
        return web.Response(status=status, body=json.dumps(body).encode(), headers=headers)

    async def _handle(self, request: web.Request, path: str, call: Call) -> Any:
        by_token = re.match(r"/interactions/|/webhooks/\d+/", path)
        if not by_token and request.headers.get("Authorization") != f"Bot {self.token}":
            raise ApiError(401, 0, "401: Unauthorized")
        for pattern, handler in ROUTES:
            if found := pattern.fullmatch(f"{call.method} {path}"):
                self._judge(path, call)
                return await handler(self, call, *(int(g) if g and g.isdigit() else g for g in found.groups()))
        self.unknown_routes.append(f"{call.method} {path}")
        raise ApiError(404, 0, "404: Not Found")

    def _judge(self, path: str, call: Call) -> None:
        """Refuse what is over a published limit; what only the schema minds is noted."""
        broken = request_problems(call.method, path, call.body, len(call.files), self.application_id)
        self.violations += [f"{call.method} {path}: {where}: {why}" for where, why in broken]
        if not broken:
            self.violations += [f"{call.method} {path}: {p}" for p in schema_problems(call.method, path, call.body)]
        else:
            raise invalid(*broken[0])

    # ---- the application and its commands

    @route("GET", "/(users/@me|oauth2/applications/@me|gateway/bot)")
    async def _about(self, call: Call, what: str) -> Json:
        if what == "users/@me":
            return self.bot_user
        if what == "gateway/bot":
            limit = {"total": 1000, "remaining": 1000 - self.identify_count, "reset_after": 0, "max_concurrency": 1}
            return {"url": self.gateway_url, "shards": self.shards, "session_start_limit": limit}
        about = {"id": str(self.application_id), "name": "mockingbird", "icon": None, "description": "", "team": None}
        about |= {"bot_public": True, "bot_require_code_grant": False, "verify_key": "0" * 64, "flags": 0}
        return about | {"owner": self.member_user}

    @route("GET|PUT", "/applications/{id}(?:/guilds/{id})?/commands")
    async def _commands(self, call: Call, application: int, guild: int | None) -> list[Json]:
        if guild is not None and (guild not in self.guilds or guild in self._elsewhere):
            raise ApiError(403, 50001, "Missing Access")
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

    @route("GET", "/applications/{id}/guilds/{id}/commands/(?:{id}/)?permissions")
    async def _get_permissions(self, call: Call, application: int, guild: int, command: int | None) -> Any:
        if guild not in self.guilds or guild in self._elsewhere:
            raise ApiError(403, 50001, "Missing Access")
        listed = self.command_permissions.get(guild, [])
        if command is None:
            return listed
        with contextlib.suppress(StopIteration):
            return next(p for p in listed if p["id"] == str(command))
        raise ApiError(404, 10066, "Unknown application command permissions")

    def set_command_permissions(
        self, command: str | int | None, permissions: list[Json], *, guild_id: int | None = None
    ) -> None:
        """What the server's settings say of a command, by name or id, or of all (None).

        Each of `permissions`: id, type (1 role, 2 user, 3 channel), permission. None at all removes what was set.
        """
        guild_id, about = guild_id or self.guild_id, str(command or self.application_id)
        known = [*self._command_sets.get(guild_id, []), *self._command_sets.get(None, [])]
        about = next((c["id"] for c in known if c["name"] == command), about)
        made: Json = {"id": about, "application_id": str(self.application_id), "guild_id": str(guild_id)}
        made["permissions"] = [p | {"id": str(p["id"])} for p in permissions]
        others = [p for p in self.command_permissions.get(guild_id, []) if p["id"] != about]
        self.command_permissions[guild_id] = [*others, made] if permissions else others
        self._announce("APPLICATION_COMMAND_PERMISSIONS_UPDATE", made, guild_id)

    # ---- channels, guilds and users

    @route("GET|PATCH|DELETE", "/channels/{id}")
    async def _channel(self, call: Call, channel_id: int) -> Json:
        channel = self._reach(channel_id)
        if call.method == "GET":
            return self._channel_payload(channel)
        if channel["type"] not in THREADS or channel["owner_id"] != str(self.bot_id):
            raise ApiError(403, 50013, "Missing Permissions")
        if call.method == "DELETE":
            self.remove_channel(channel_id)
            return channel
        channel |= {key: call.body[key] for key in ("name",) if key in call.body}
        about = ("archived", "locked", "auto_archive_duration")
        channel["thread_metadata"] |= {key: call.body[key] for key in about if key in call.body}
        await self._thread_event("THREAD_UPDATE", channel)
        return channel

    @route("POST", "/channels/{id}/typing")
    async def _typing(self, call: Call, channel_id: int) -> None:
        self._reach(channel_id)

    @route("POST", "/users/@me/channels")
    async def _open_dm(self, call: Call) -> Json:
        return self.channels[self.dm(int(call.body["recipient_id"]))]

    @route("GET", "/users/{id}")
    async def _get_user(self, call: Call, user_id: int) -> Json:
        if user_id not in self.users:
            raise ApiError(404, 10013, "Unknown User")
        return self.users[user_id]

    @route("GET", "/guilds/{id}(?:/(channels|roles))?")
    async def _guild(self, call: Call, guild_id: int, what: str | None) -> Any:
        self._reach_guild(guild_id)
        payload = self._guild_payload(guild_id)
        return payload[what] if what else payload

    @route("DELETE", "/users/@me/guilds/{id}")
    async def _leave(self, call: Call, guild_id: int) -> None:
        self._reach_guild(guild_id)
        self.remove_guild(guild_id)

    @route("GET", "/guilds/{id}/members/{id}")
    async def _get_member(self, call: Call, guild_id: int, user_id: int) -> Json:
        self._reach_guild(guild_id)
        if user_id not in self.members[guild_id]:
            raise ApiError(404, 10007, "Unknown Member")
        return self._member(self.users[user_id], guild_id)
