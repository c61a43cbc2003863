"""Messages, threads and files of the stand-in for Discord, with the permissions that they need."""

from __future__ import annotations

import mimetypes
import re
import time
from typing import Any

from tests.fakes.discord_gateway import Gateway
from tests.fakes.discord_payloads import (
    ATTACH_FILES,
    COMMAND,
    CREATE_THREADS,
    EMBED_LINKS,
    EPHEMERAL,
    HAS_THREAD,
    INTENT_GUILDS,
    LOADING,
    READ_HISTORY,
    SEND_IN_THREADS,
    SEND_MESSAGES,
    ApiError,
    Interaction,
    Json,
    Upload,
    invalid,
    now_iso,
    snowflake,
)
from tests.fakes.discord_routes import Call, route
from tests.fakes.discord_world import THREADS


class Messages(Gateway):
    url: str

    def __init__(self) -> None:
        self.messages: dict[int, Json] = {}
        self.files: dict[int, Upload] = {}
        self.edits: list[tuple[int, Json]] = []
        self.clock_offset_s = 0.0
        self.attachment_size_limit = 10 * 1024 * 1024
        super().__init__()

    def _clock(self) -> float:
        return time.monotonic() + self.clock_offset_s

    # ---- messages

    def _is_listed(self, message: Json, channel_id: int) -> bool:
        return message["channel_id"] == str(channel_id) and not message["flags"] & EPHEMERAL

    def _content(self, payload: Json, files: list[Upload], old: Json) -> Json:
        """The fields that a payload sets, refused as Discord would before anything is stored."""
        new: Json = {key: payload.get(key, old[key]) or [] for key in ("embeds", "components")}
        content = new["content"] = payload.get("content", old["content"]) or ""
        if sum(len(data) for _, data in files) > self.attachment_size_limit:
            raise ApiError(413, 40005, "Request entity too large")
        allowed = payload.get("allowed_mentions") or {"parse": ["users", "roles", "everyone"], "replied_user": True}
        named = {int(i) for i in re.findall(r"<@!?(\d+)>", content)} & self.users.keys()
        roles = {i for i in re.findall(r"<@&(\d+)>", content)}
        if "users" not in allowed.get("parse", []):
            named &= {int(i) for i in allowed.get("users", [])}
        if "roles" not in allowed.get("parse", []):
            roles &= {str(i) for i in allowed.get("roles", [])}
        if allowed.get("replied_user") and old.get("referenced_message"):
            named.add(int(old["referenced_message"]["author"]["id"]))
        new |= {"mentions": [self.users[i] for i in sorted(named & self.users.keys())], "mention_roles": sorted(roles)}
        new["mention_everyone"] = bool(re.search("@everyone|@here", content)) and "everyone" in allowed.get("parse", [])
        keep = [str(a["id"]) for a in payload.get("attachments", old["attachments"]) or []]
        new["attachments"] = [a for a in old["attachments"] if a["id"] in keep]
        said = any(new[key] for key in ("content", "embeds", "components", "attachments"))
        if not (said or files or payload.get("flags", 0) & LOADING):
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
        webhook: Json | None = None,
    ) -> Json:
        channel = self.channels[channel_id]
        message: Json = {"id": str(snowflake()), "type": 0, "channel_id": str(channel_id), "author": author}
        message |= {"timestamp": now_iso(), "edited_timestamp": None, "tts": False, "pinned": False}
        message |= {"flags": payload.get("flags") or 0, "nonce": payload.get("nonce")}
        if "guild_id" in channel:
            message["guild_id"] = channel["guild_id"]
            message |= {} if webhook else {"member": self._member(author, int(channel["guild_id"])) | {"user": author}}
        if reference := payload.get("message_reference"):
            target = self.messages.get(int(reference["message_id"]))
            if target is None and reference.get("fail_if_not_exists", True):
                raise invalid("message_reference", "Unknown message")
            where = {"message_id": str(reference["message_id"]), "channel_id": str(channel_id)}
            message |= {"type": 19, "message_reference": where, "referenced_message": target}
        if interaction is not None:
            about = {"id": str(interaction.id), "type": interaction.type, "user": interaction.user}
            message |= {"interaction_metadata": about | {"authorizing_integration_owners": interaction.owners}}
            message |= {"webhook_id": str(self.application_id), "application_id": str(self.application_id)}
            message["type"] = 20 if interaction.type == COMMAND and interaction.message is None else 0
        if webhook is not None:
            message |= {"webhook_id": webhook["id"], "application_id": webhook["application_id"]}
        message = {"content": "", "embeds": [], "components": [], "attachments": []} | message
        message |= self._content(payload, files, message)
        self.messages[int(message["id"])] = message
        channel["last_message_id"] = message["id"]
        if channel["type"] in THREADS:
            channel["thread_metadata"]["archived"] = False
            channel["message_count"] += 1
        await self._dispatch_message("MESSAGE_CREATE", message)
        return message

    async def _edit(self, message: Json, payload: Json, files: list[Upload]) -> Json:
        message |= self._content(payload, files, message)
        kept = EPHEMERAL | HAS_THREAD
        flags = (payload.get("flags") or message["flags"]) & ~(kept | LOADING) | message["flags"] & kept
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

    # ---- routes

    @route("GET|PATCH|DELETE", "/channels/{id}/messages/{id}")
    async def _message(self, call: Call, channel_id: int, message_id: int) -> Json | None:
        self._reach(channel_id, READ_HISTORY if call.method == "GET" else 0)
        message = self.messages.get(message_id)
        if message is None or not self._is_listed(message, channel_id):
            raise ApiError(404, 10008, "Unknown Message")
        if call.method != "GET" and message["author"] is not self.bot_user:
            raise ApiError(403, 50005 if call.method == "PATCH" else 50013, "The message is another user's")
        result = await self._apply(call, message)
        self.edits += [(message_id, call.body)] if call.method == "PATCH" else []
        return result

    @route("GET|POST", "/channels/{id}/messages")
    async def _messages(self, call: Call, channel_id: int) -> Json | list[Json]:
        channel = self._reach(channel_id)
        if call.method == "POST":
            return await self._post(call, channel)
        if not self._permissions(channel) & READ_HISTORY:
            return []
        before, after = int(call.query.get("before", 1 << 63)), int(call.query.get("after", 0))
        ids = [i for i, m in self.messages.items() if self._is_listed(m, channel_id) and after < i < before]
        limit = int(call.query.get("limit", 50))
        ids = ids[:limit] if "after" in call.query else ids[-limit:]
        return [self._as_seen(self.messages[i]) for i in reversed(ids)]

    async def _post(self, call: Call, channel: Json) -> Json:
        in_thread = channel["type"] in THREADS
        needed = SEND_IN_THREADS if in_thread else SEND_MESSAGES
        needed |= ATTACH_FILES if call.files else 0
        needed |= EMBED_LINKS if call.body.get("embeds") else 0
        self._reach(channel["id"], needed)
        if in_thread and channel["thread_metadata"]["locked"]:
            raise ApiError(400, 50083, "Thread is archived")
        if call.body.get("message_reference") and not self._permissions(channel) & READ_HISTORY:
            raise ApiError(400, 160002, "Cannot reply without permission to read message history")
        nonce = str(call.body.get("nonce")) if call.body.get("enforce_nonce") else ""
        earlier = [m for m in self.messages.values() if nonce and str(m["nonce"]) == nonce]
        if earlier and earlier[0]["author"] is self.bot_user and earlier[0]["channel_id"] == channel["id"]:
            return earlier[0]
        return await self._create(int(channel["id"]), self.bot_user, call.body, call.files)

    # ---- threads

    async def _open_thread(self, parent: Json, owner: Json, name: str, starter: Json | None, kind: int = 11) -> Json:
        if starter is not None and starter["flags"] & HAS_THREAD:
            raise ApiError(400, 160004, "A thread has already been created for this message")
        thread_id, now = int(starter["id"]) if starter else snowflake(), now_iso()
        about = {"archived": False, "auto_archive_duration": 1440, "archive_timestamp": now, "locked": False}
        made = {"id": str(thread_id), "type": kind, "guild_id": parent["guild_id"], "parent_id": parent["id"]}
        made |= {"owner_id": owner["id"], "name": name, "message_count": 0, "member_count": 1, "last_message_id": None}
        made |= {"thread_metadata": about | {"create_timestamp": now}, "rate_limit_per_user": 0, "flags": 0}
        if owner is self.bot_user:
            joined = {"id": made["id"], "user_id": owner["id"], "join_timestamp": now, "flags": 0}
            made["member"] = joined
        self.channels[thread_id] = made
        if starter is not None:
            starter |= {"flags": starter["flags"] | HAS_THREAD, "thread": made}
        await self._thread_event("THREAD_CREATE", made, newly_created=True)
        return made

    async def _thread_event(self, event: str, thread: Json, **more: Any) -> None:
        guild_id = int(thread["guild_id"])
        for session in list(self.sessions.values()):
            if session.serves(guild_id) and session.intents & INTENT_GUILDS and self._permissions(thread):
                await self._log(session, event, thread | more)

    @route("POST", "/channels/{id}/(?:messages/{id}/)?threads")
    async def _start_thread(self, call: Call, channel_id: int, message_id: int | None) -> Json:
        parent = self._reach(channel_id, CREATE_THREADS)
        starter = self.messages.get(message_id) if message_id else None
        if message_id and (starter is None or not self._is_listed(starter, channel_id)):
            raise ApiError(404, 10008, "Unknown Message")
        if "guild_id" not in parent or parent["type"] in THREADS:
            raise ApiError(400, 50024, "Cannot execute action on this channel type")
        return await self._open_thread(
            parent, self.bot_user, call.body["name"], starter, 11 if starter else call.body.get("type", 12)
        )

    @route("PUT|DELETE", "/channels/{id}/thread-members/(?:@me|[0-9]+)")
    async def _thread_member(self, call: Call, channel_id: int) -> None:
        self._reach(channel_id)
