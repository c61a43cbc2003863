"""What a test does in the place of the members: write, invoke commands, click, choose, fill in forms."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Unpack

from tests.fakes.discord_forms import chosen, filled_in, resolve
from tests.fakes.discord_payloads import (
    ACK_LIMIT_S,
    AUTOCOMPLETE,
    COMMAND,
    COMPONENT,
    DEFAULT_PERMISSIONS,
    MANAGE_GUILD,
    PRIVATE_PERMISSIONS,
    SUBMIT,
    At,
    Interaction,
    Json,
    Upload,
    snowflake,
    walk,
)
from tests.fakes.discord_rest import DiscordRest


class Acts(DiscordRest):
    wait_for: Callable[..., Any]

    async def say(
        self,
        content: str,
        *,
        mention_bot: bool = False,
        reply_to: int | None = None,
        ping_reply: bool = True,
        author_id: int | None = None,
        bot: bool = False,
        channel_id: int | None = None,
        guild_id: int | None = None,
        where: str = "guild",
        files: list[Upload] | None = None,
    ) -> int:
        """Write a message: in a channel or thread, a guild's general channel, or to the bot (where="dm")."""
        author = self._user(author_id or (snowflake() if bot else self.member_id), bot=bot)
        if channel_id is None and reply_to is not None and guild_id is None and where == "guild":
            channel_id = int(self.messages[reply_to]["channel_id"]) if reply_to in self.messages else None
        if channel_id is None:
            channel_id = self.dm(int(author["id"])) if where == "dm" else self.general(guild_id or self.guild_id)
        payload: Json = {"content": f"<@{self.bot_id}> {content}" if mention_bot else content}
        if reply_to is not None:
            payload["message_reference"] = {"message_id": reply_to}
            payload["allowed_mentions"] = {"parse": ["users", "roles", "everyone"], "replied_user": ping_reply}
        return int((await self._create(channel_id, author, payload, files or []))["id"])

    async def delete_message(self, message_id: int) -> None:
        """Somebody deletes it, whoever wrote it."""
        message = self.messages.pop(message_id)
        await self._dispatch_message("MESSAGE_DELETE", message)

    async def open_thread(self, message_id: int, name: str, member_id: int | None = None) -> int:
        """A member opens a thread on a message; its id is the message's."""
        message = self.messages[message_id]
        parent, owner = self.channels[int(message["channel_id"])], self._user(member_id or self.member_id)
        return int((await self._open_thread(parent, owner, name, message))["id"])

    # ---- interactions

    async def slash(
        self,
        name: str,
        options: Json | None = None,
        *,
        subcommand: str = "",
        attachments: dict[str, Upload] | None = None,
        permissions: int = DEFAULT_PERMISSIONS,
        member_id: int | None = None,
        **at: Unpack[At],
    ) -> Interaction:
        """Invoke a registered command; a subcommand in a group is written "group sub"."""
        options = (options or {}) | {key: self._store(*file) for key, file in (attachments or {}).items()}
        data = self._command(name, options, subcommand, member_id, at)
        return await self._interact(COMMAND, data, member_id, permissions, **at)

    async def type_option(
        self,
        name: str,
        option: str,
        value: Any,
        options: Json | None = None,
        *,
        subcommand: str = "",
        permissions: int = DEFAULT_PERMISSIONS,
        member_id: int | None = None,
        **at: Unpack[At],
    ) -> Interaction:
        """Type `value` into an option that is completed."""
        data = self._command(name, {**(options or {}), option: value}, subcommand, member_id, at, focused=option)
        return await self._interact(AUTOCOMPLETE, data, member_id, permissions, **at)

    async def autocomplete(
        self, name: str, option: str, value: Any, options: Json | None = None, **how: Any
    ) -> list[Json]:
        """The choices that the bot offers while a member types `value`; `how` is that of `type_option`."""
        asked = await self.type_option(name, option, value, options, **how)
        answer = await self.wait_for(lambda: asked.response, ACK_LIMIT_S, what="choices")
        choices: list[Json] = answer["data"]["choices"]
        return choices

    async def context_menu(
        self,
        name: str,
        target_id: int,
        *,
        permissions: int = DEFAULT_PERMISSIONS,
        member_id: int | None = None,
        **at: Unpack[At],
    ) -> Interaction:
        """Invoke a registered command on a message, or else on a user."""
        message = self.messages.get(target_id)
        if message is not None and not at:
            at = {"channel_id": int(message["channel_id"])}
        command = self._find_command(name, 3 if message else 2, member_id, at)
        data = {"id": command["id"], "name": name, "type": command["type"], "target_id": str(target_id)}
        if message is not None:
            data["resolved"] = {"messages": {str(target_id): message}}
        else:
            _, guild_id, _, _ = self._place(member_id, at)
            data["resolved"] = resolve(self, [(6, target_id)], guild_id)
        data |= {"guild_id": command["guild_id"]} if "guild_id" in command else {}
        return await self._interact(COMMAND, data, member_id, permissions, **at)

    async def click(
        self,
        message_id: int,
        custom_id: str,
        member_id: int | None = None,
        permissions: int = DEFAULT_PERMISSIONS,
        *,
        values: list[Any] | None = None,
        **at: Unpack[At],
    ) -> Interaction:
        """Press a button, or choose `values` in a select menu: those of its options, or ids."""
        message = self.messages[message_id]
        found = [c for c in walk(message["components"]) if c.get("custom_id") == custom_id]
        assert found, f"message {message_id} has no component {custom_id!r}: {message['components']}"
        assert not found[0].get("disabled"), f"component {custom_id!r} is disabled"
        if "channel_id" not in at:
            at["channel_id"] = int(message["channel_id"])
        _, guild_id, _, _ = self._place(member_id, at)
        data = {"custom_id": custom_id, "component_type": found[0]["type"]}
        if found[0]["type"] != 2:
            data |= chosen(self, found[0], values, guild_id)
        else:
            assert values is None, f"component {custom_id!r} is a button: it has no values"
        return await self._interact(COMPONENT, data, member_id, permissions, message, **at)

    async def submit(self, interaction: Interaction, values: Json | None = None) -> Interaction:
        """Fill in the modal that the bot answered with, as its user: by custom_id a text, the values, or files."""
        modal = interaction.modal
        assert modal is not None, f"interaction {interaction.id} was not answered with a modal: {interaction.response}"
        guild_id = self._place(int(interaction.user["id"]), interaction.at)[1]
        data = filled_in(self, modal, values or {}, guild_id)
        user_id, permissions = int(interaction.user["id"]), interaction.permissions
        return await self._interact(SUBMIT, data, user_id, permissions, interaction.source, **interaction.at)

    # ---- where, and with which command

    def _place(self, member_id: int | None, at: At) -> tuple[int, int | None, int, str]:
        """The channel, its guild, the context, and whether it is by "guild", "dm" or "user_install"."""
        user, where = self._user(member_id or self.member_id), at.get("where")
        channel_id, guild_id = at.get("channel_id"), at.get("guild_id")
        if channel_id is None and guild_id is None and where == "user_install":
            channel_id = self._strangers_channel(user)
        elif channel_id is None:
            channel_id = self.dm(int(user["id"])) if where == "dm" else self.general(guild_id or self.guild_id)
        channel = self.channels[channel_id]
        inside = int(channel["guild_id"]) if "guild_id" in channel else None
        assert guild_id in (None, inside), f"channel {channel_id} is not in guild {guild_id}"
        if inside is not None:
            context, usual = 0, "user_install" if inside in self._elsewhere else "guild"
        else:
            context, usual = (2, "user_install") if channel_id in self._elsewhere else (1, "dm")
        assert where in (None, usual, "user_install"), (
            f"{where!r} is not possible in channel {channel_id}: {usual!r} is"
        )
        return channel_id, inside, context, where or usual

    def _find_command(self, name: str, kind: int, member_id: int | None, at: At) -> Json:
        _, guild_id, context, how = self._place(member_id, at)
        own = self._command_sets.get(guild_id, []) if guild_id and how == "guild" else []
        needed = 1 if how == "user_install" else 0
        hidden = []
        for command in [*own, *self._command_sets.get(None, [])]:
            if (command["name"], command["type"]) == (name, kind):
                contexts = command.get("contexts") or (0, 1, 2)
                types = command.get("integration_types") or (0,)
                if "guild_id" in command or (context in contexts and needed in types):
                    return command
                hidden.append(f"only in contexts {contexts} for integration types {types}, not by {how} in {context}")
        known = [c["name"] for c in [*own, *self._command_sets.get(None, [])]]
        raise AssertionError(f"/{name} is not registered: {hidden or known}")

    def _command(
        self, name: str, options: Json, subcommand: str, member_id: int | None, at: At, focused: str = ""
    ) -> Json:
        command = self._find_command(name, 1, member_id, at)
        path, known = [], {o["name"]: o for o in command["options"]}
        for part in subcommand.split():
            assert part in known, f"/{name} has no subcommand {part!r} but {list(known)}"
            path.append({"type": known[part]["type"], "name": part})
            known = {o["name"]: o for o in known[part].get("options", [])}
        assert options.keys() <= known.keys(), f"/{name} has the options {list(known)}, not {list(options)}"
        missing = [n for n, o in known.items() if (o.get("required") or o["type"] in (1, 2)) and n not in options]
        assert focused or not missing, f"/{name} requires {missing}"
        found: list[tuple[int, Any]] = []
        nested: list[Json] = []
        for key, value in options.items():
            kind = known[key]["type"]
            found += [(kind, value)] if kind in (6, 7, 8, 9, 11) else []
            value = value["id"] if kind == 11 else str(value) if kind in (6, 7, 8, 9) else value
            nested.append({"type": kind, "name": key, "value": value} | ({"focused": True} if key == focused else {}))
        for step in reversed(path):
            nested = [step | {"options": nested}]
        resolved = resolve(self, found, self._place(member_id, at)[1])
        data = {"id": command["id"], "name": name, "type": 1, "options": nested, "resolved": resolved}
        return data | ({"guild_id": command["guild_id"]} if "guild_id" in command else {})

    async def _interact(
        self,
        kind: int,
        data: Json,
        member_id: int | None = None,
        permissions: int = DEFAULT_PERMISSIONS,
        message: Json | None = None,
        **at: Unpack[At],
    ) -> Interaction:
        made_id, token, user = snowflake(), f"token-{uuid.uuid4().hex}", self._user(member_id or self.member_id)
        channel_id, guild_id, context, how = self._place(member_id, at)
        channel, before = self.channels[channel_id], message["edited_timestamp"] if message else None
        owners = {"1": user["id"]} if how == "user_install" else {"0": str(guild_id or 0)}
        made = Interaction(
            *(made_id, token, kind, user, self._clock(), self),  # type: ignore[arg-type]
            *(channel_id, owners, message, before),
            permissions=permissions,
            at=At(**at, channel_id=channel_id) if "channel_id" not in at else at,
            source=message,
        )
        self.interactions[token] = made
        payload: Json = {"id": str(made_id), "type": kind, "token": token, "version": 1, "data": data}
        payload |= {"context": context, "authorizing_integration_owners": owners, "entitlements": []}
        payload |= {"application_id": str(self.application_id), "attachment_size_limit": self.attachment_size_limit}
        payload |= {"channel_id": str(channel_id), "locale": at.get("locale", "en-US")}
        app_permissions = self._permissions(channel) or PRIVATE_PERMISSIONS
        if guild_id is not None:
            own = permissions | self._roles_permissions(int(user["id"]), guild_id)
            locale = at.get("guild_locale", self.guilds[guild_id]["preferred_locale"])
            payload |= {"member": self._member(user, guild_id) | {"permissions": str(own)}, "guild_locale": locale}
            payload |= {"guild_id": str(guild_id), "guild": {"id": str(guild_id), "features": [], "locale": locale}}
            channel = channel | {"permissions": str(own)}
        else:
            payload["user"] = user
            app_permissions = PRIVATE_PERMISSIONS | (MANAGE_GUILD | 1 << 18 if context == 1 else 0)
        payload |= {"channel": channel, "app_permissions": str(app_permissions)}
        payload |= {"message": message} if message else {}
        await self._dispatch("INTERACTION_CREATE", payload, guild_id)
        return made
