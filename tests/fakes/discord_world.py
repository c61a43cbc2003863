"""Who and what there is in the stand-in for Discord: guilds, channels, roles, members, and what the bot may do."""

from __future__ import annotations

from typing import Any

from tests.fakes.discord_payloads import (
    ALL_PERMISSIONS,
    DEFAULT_PERMISSIONS,
    MANAGE_GUILD,
    ApiError,
    Json,
    now_iso,
    snowflake,
)

THREADS = (10, 11, 12)


class World:
    """The state; whoever is connected is told of what is added."""

    def __init__(self) -> None:
        self.application_id, self.bot_id, self.guild_id = snowflake(), snowflake(), snowflake()
        self.member_id = snowflake()
        self.users: dict[int, Json] = {}
        self.guilds: dict[int, Json] = {}
        self.channels: dict[int, Json] = {}
        self.members: dict[int, dict[int, list[str]]] = {}  # guild, user: roles
        self.app_permissions = MANAGE_GUILD
        self.channel_permissions: dict[int, int] = {}  # where the bot's differ
        self._elsewhere: set[int] = set()  # guilds and direct messages that the bot is not in
        self.bot_user = self._user(self.bot_id, "mockingbird", bot=True)
        self.member_user = self._user(self.member_id, "member")
        self.add_guild("guild", guild_id=self.guild_id)
        self.channel_id = self.general(self.guild_id)

    def _announce(self, event: str, data: Json, guild_id: int | None) -> None:
        raise NotImplementedError

    # ---- what a test adds

    def add_guild(
        self, name: str, *, installed: bool = True, locale: str = "en-US", guild_id: int | None = None
    ) -> int:
        """A guild with a channel "general", owned by the first member; the bot is in it if it is installed."""
        guild_id = guild_id or snowflake()
        everyone = self._role(guild_id, "@everyone", DEFAULT_PERMISSIONS)
        made = {"id": str(guild_id), "name": name, "owner_id": str(self.member_id), "preferred_locale": locale}
        self.guilds[guild_id] = made | {"roles": [everyone]}
        self.members[guild_id] = {self.bot_id: [], self.member_id: []} if installed else {self.member_id: []}
        if not installed:
            self._elsewhere.add(guild_id)
        channel_id = snowflake()
        self.channels[channel_id] = self._channel_of(channel_id, "general", guild_id)
        if installed:
            self._announce("GUILD_CREATE", self._guild_payload(guild_id), guild_id)
        return guild_id

    def remove_guild(self, guild_id: int) -> None:
        """The bot is thrown out."""
        self._elsewhere.add(guild_id)
        self.members[guild_id].pop(self.bot_id, None)
        self._announce("GUILD_DELETE", {"id": str(guild_id)}, guild_id)

    def add_channel(self, name: str, *, guild_id: int | None = None, kind: int = 0) -> int:
        channel_id, guild_id = snowflake(), guild_id or self.guild_id
        made = self.channels[channel_id] = self._channel_of(channel_id, name, guild_id, kind)
        self._announce("CHANNEL_CREATE", self._channel_payload(made), guild_id)
        return channel_id

    def remove_channel(self, channel_id: int) -> None:
        gone = self.channels.pop(channel_id)
        event = "THREAD_DELETE" if gone["type"] in THREADS else "CHANNEL_DELETE"
        self._announce(event, gone, int(gone["guild_id"]))

    def add_role(self, name: str, *, permissions: int = 0, guild_id: int | None = None) -> int:
        role_id, guild_id = snowflake(), guild_id or self.guild_id
        role = self._role(role_id, name, permissions)
        self.guilds[guild_id]["roles"].append(role)
        self._announce("GUILD_ROLE_CREATE", {"guild_id": str(guild_id), "role": role}, guild_id)
        return role_id

    def add_member(self, name: str, *, guild_id: int | None = None) -> int:
        member_id = snowflake()
        self._user(member_id, name)
        self.members[guild_id or self.guild_id][member_id] = []
        return member_id

    def give_role(self, member_id: int, role_id: int) -> None:
        guild_id = next(g for g, guild in self.guilds.items() if any(r["id"] == str(role_id) for r in guild["roles"]))
        self.members[guild_id].setdefault(member_id, []).append(str(role_id))
        self._member_update(member_id, guild_id)

    def take_role(self, member_id: int, role_id: int) -> None:
        for guild_id, members in self.members.items():
            if str(role_id) in members.get(member_id, []):
                members[member_id].remove(str(role_id))
                self._member_update(member_id, guild_id)

    def set_permissions(self, permissions: int, channel_id: int | None = None) -> None:
        """What the bot may from now on, everywhere or in one channel; it is told, as Discord does."""
        if channel_id is None:
            self.app_permissions = permissions
            for guild_id in self.guilds:
                self._announce("GUILD_ROLE_UPDATE", {"guild_id": str(guild_id), "role": self._bot_role()}, guild_id)
        else:
            self.channel_permissions[channel_id] = permissions
        for channel in list(self.channels.values()):
            if "guild_id" in channel and channel["type"] not in THREADS:
                self._announce("CHANNEL_UPDATE", self._channel_payload(channel), int(channel["guild_id"]))

    def dm(self, member_id: int | None = None) -> int:
        """The channel of direct messages between a member and the bot."""
        user = self._user(member_id or self.member_id)
        found = [i for i, c in self.channels.items() if c.get("recipients") == [user]]
        return found[0] if found else self._private_channel([user])

    def general(self, guild_id: int) -> int:
        return next(i for i, c in self.channels.items() if c.get("guild_id") == str(guild_id))

    # ---- what they look like on the wire

    def _user(self, user_id: int, name: str = "", *, bot: bool = False) -> Json:
        made = {"id": str(user_id), "username": name or f"user{user_id % 10000}", "discriminator": "0"}
        return self.users.setdefault(user_id, made | {"global_name": None, "avatar": None, "bot": bot})

    def _member(self, user: Json | None, guild_id: int, member_id: int = 0) -> Json:
        roles = self.members.get(guild_id, {}).get(int(user["id"]) if user else member_id, [])
        if user is self.bot_user or member_id == self.bot_id:
            roles = [*roles, str(self.application_id)]  # the role that Discord makes for it
        made = {"roles": roles, "flags": 0, "joined_at": now_iso(), "nick": None}
        return made | ({"user": user} if user else {})

    def _member_update(self, member_id: int, guild_id: int) -> None:
        member = self._member(self._user(member_id), guild_id)
        self._announce("GUILD_MEMBER_UPDATE", member | {"guild_id": str(guild_id)}, guild_id)

    def _role(self, role_id: int, name: str, permissions: int) -> Json:
        role = {"id": str(role_id), "name": name, "permissions": str(permissions), "position": 0, "flags": 0}
        return role | {"color": 0, "hoist": False, "managed": False, "mentionable": False}

    def _roles_permissions(self, member_id: int, guild_id: int) -> int:
        own, granted = self.members.get(guild_id, {}).get(member_id, []), 0
        for role in self.guilds[guild_id]["roles"]:
            granted |= int(role["permissions"]) if role["id"] in own else 0
        return granted

    def _channel_of(self, channel_id: int, name: str, guild_id: int, kind: int = 0) -> Json:
        made = {"id": str(channel_id), "type": kind, "name": name, "guild_id": str(guild_id), "position": 0}
        return made | {"permission_overwrites": [], "nsfw": False, "parent_id": None, "topic": None}

    def _private_channel(self, users: list[Json]) -> int:
        channel_id = snowflake()
        self.channels[channel_id] = {"id": str(channel_id), "type": 1, "recipients": users}
        return channel_id

    def _strangers_channel(self, user: Json) -> int:
        """Direct messages of a member and somebody else: the bot is not part of them."""
        for channel_id, channel in self.channels.items():
            if channel_id in self._elsewhere and user in channel["recipients"]:
                return channel_id
        channel_id = self._private_channel([user, self._user(snowflake(), "friend")])
        self._elsewhere.add(channel_id)
        return channel_id

    def _channel_payload(self, channel: Json) -> Json:
        allowed, usual = self._permissions(channel), self.app_permissions | DEFAULT_PERMISSIONS
        if "guild_id" not in channel or channel["type"] in THREADS or allowed == usual:
            return channel
        overwrite = {"id": str(self.bot_id), "type": 1, "allow": str(allowed)}
        return channel | {"permission_overwrites": [overwrite | {"deny": str(ALL_PERMISSIONS & ~allowed)}]}

    def _bot_role(self) -> Json:
        role = self._role(self.application_id, "mockingbird", self.app_permissions)
        return role | {"managed": True, "tags": {"bot_id": str(self.bot_id)}, "position": 1}

    def _guild_payload(self, guild_id: int) -> Json:
        guild = self.guilds[guild_id] | {"unavailable": False, "member_count": len(self.members[guild_id])}
        inside = [c for c in self.channels.values() if c.get("guild_id") == str(guild_id)]
        guild |= {"roles": [*guild["roles"], self._bot_role()]}
        guild |= {"channels": [self._channel_payload(c) for c in inside if c["type"] not in THREADS]}
        guild |= {"threads": [c for c in inside if c["type"] in THREADS and not c["thread_metadata"]["archived"]]}
        members = [self._member(self._user(user_id), guild_id) for user_id in self.members[guild_id]]
        return guild | {"members": members} | {key: [] for key in ("emojis", "features", "presences", "voice_states")}

    # ---- what the bot may

    def _permissions(self, channel: Json) -> int:
        """The bot's in a channel; a thread has its parent's."""
        if int(channel["id"]) in self._elsewhere or int(channel.get("guild_id", 0)) in self._elsewhere:
            return 0
        if "guild_id" not in channel:
            return ALL_PERMISSIONS
        place = int(channel["parent_id"] if channel["type"] in THREADS else channel["id"])
        return self.channel_permissions.get(place, self.app_permissions)

    def _reach(self, channel_id: Any, needed: int = 0) -> Json:
        """A channel for the bot to do something in, or the refusal."""
        channel = self.channels.get(int(channel_id))
        if channel is None:
            raise ApiError(404, 10003, "Unknown Channel")
        allowed = self._permissions(channel)
        if not allowed & 1 << 10:
            raise ApiError(403, 50001, "Missing Access")
        if needed & ~allowed:
            raise ApiError(403, 50013, "Missing Permissions")
        return channel

    def _reach_guild(self, guild_id: int) -> Json:
        if guild_id not in self.guilds or guild_id in self._elsewhere:
            raise ApiError(404, 10004, "Unknown Guild")
        return self.guilds[guild_id]
