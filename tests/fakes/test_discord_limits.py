"""Discord's published limits: each request that breaks one is named, refused and remembered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import discord
import pytest
from discord import app_commands

from tests.fakes.discord_client import Client, running, serving
from tests.fakes.discord_limits import request_problems
from tests.fakes.discord_openapi import schema_problems
from tests.fakes.discord_server import FakeDiscord

APP = 77
MESSAGES, EDIT, ORIGINAL = "POST /channels/1/messages", "PATCH /channels/1/messages/2", f"POST /webhooks/{APP}/token"
PERSONA, HOOKS, CALLBACK = "POST /webhooks/5/token", "POST /channels/1/webhooks", "POST /interactions/1/token/callback"
COMMANDS, THREAD = f"PUT /applications/{APP}/commands", "POST /channels/1/messages/2/threads"


def broken(call: str, body: Any, files: int = 0) -> list[str]:
    method, path = call.split()
    return [where for where, _ in request_problems(method, path, body, files, APP)]


def row(*components: dict[str, Any]) -> dict[str, Any]:
    return {"components": [{"type": 1, "components": list(components)}]}


def button(**changes: Any) -> dict[str, Any]:
    return {"type": 2, "style": 1, "label": "x", "custom_id": "x"} | changes


def menu(**changes: Any) -> dict[str, Any]:
    return {"type": 3, "custom_id": "m", "options": [{"label": "a", "value": "a"}]} | changes


def options(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [{"label": "x", "value": str(i)} | changes for i in range(count)]


def command(**changes: Any) -> list[dict[str, Any]]:
    return [{"name": "say", "description": "x", "type": 1} | changes]


def option(**changes: Any) -> dict[str, Any]:
    return {"name": "text", "description": "x", "type": 3} | changes


def modal(*components: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"type": 9, "data": {"title": "x", "custom_id": "x", "components": list(components)} | changes}


def text_input(**changes: Any) -> dict[str, Any]:
    return {"type": 1, "components": [{"type": 4, "style": 1, "custom_id": "x", "label": "x"} | changes]}


BIG = "x" * 4096
LONG = [option(name=f"o{i}", choices=[{"name": "x" * 100, "value": "y"}] * 6) for i in range(14)]
WITHIN: list[tuple[str, Any]] = [
    (MESSAGES, {"content": "x" * 2000, "nonce": "1" * 25}),
    (MESSAGES, {"embeds": [{"title": "x" * 256, "description": BIG, "fields": [{"name": "x", "value": "x" * 1024}]}]}),
    (EDIT, {"components": []}),
    (MESSAGES, row(*[button(custom_id=str(i), label="x" * 80) for i in range(5)])),
    (
        MESSAGES,
        row(button(label=None, emoji={"name": "👍"}), {"type": 2, "style": 5, "label": "x", "url": "https://x.test"}),
    ),
    (MESSAGES, row(menu(options=options(25), placeholder="x" * 150, max_values=25))),
    (MESSAGES, {"flags": 1 << 15, "components": [{"type": 17, "components": [{"type": 10, "content": "x" * 4000}]}]}),
    (PERSONA, {"content": "x", "username": "x" * 80}),
    (ORIGINAL, {"content": "x", "username": "ignored discord"}),
    (CALLBACK, {"type": 5, "data": {"flags": 64}}),
    (CALLBACK, {"type": 8, "data": {"choices": [{"name": "x" * 100, "value": 1}] * 25}}),
    (CALLBACK, modal(text_input(label="x" * 45, placeholder="x" * 100, value="x" * 4000))),
    (CALLBACK, modal({"type": 18, "label": "x", "component": menu()}, {"type": 10, "content": "x"})),
    (COMMANDS, command(name="größe_1", options=[option(required=True), option(name="b")])),
    (COMMANDS, command(name="Quote This", type=3, description="")),
    (COMMANDS, command(name_localizations={"de": "sagen"}, description_localizations={"pt-BR": "dizer"})),
    (THREAD, {"name": "x" * 100}),
]
OVER: list[tuple[str, Any, str]] = [
    (MESSAGES, {"content": "x" * 2001}, "content"),
    (EDIT, {"content": "x" * 2001}, "content"),
    (ORIGINAL, {"content": "x" * 2001}, "content"),
    (PERSONA, {"content": "x" * 2001}, "content"),
    (CALLBACK, {"type": 4, "data": {"content": "x" * 2001}}, "data.content"),
    (CALLBACK, {"type": 7, "data": {"embeds": [{}] * 11}}, "data.embeds"),
    (MESSAGES, {"nonce": "1" * 26}, "nonce"),
    (MESSAGES, {"attachments": [{"id": i} for i in range(11)]}, "attachments"),
    (MESSAGES, {"allowed_mentions": {"parse": ["users"], "users": ["1"]}}, "allowed_mentions.users"),
    (MESSAGES, {"embeds": [{"title": "x" * 257}]}, "embeds.0.title"),
    (MESSAGES, {"embeds": [{"description": BIG + "x"}]}, "embeds.0.description"),
    (MESSAGES, {"embeds": [{"footer": {"text": "x" * 2049}}]}, "embeds.0.footer.text"),
    (MESSAGES, {"embeds": [{"author": {"name": "x" * 257}}]}, "embeds.0.author.name"),
    (MESSAGES, {"embeds": [{"fields": [{"name": "x", "value": "x"}] * 26}]}, "embeds.0.fields"),
    (MESSAGES, {"embeds": [{"fields": [{"name": "", "value": "x"}]}]}, "embeds.0.fields.0.name"),
    (MESSAGES, {"embeds": [{"fields": [{"name": "x", "value": "x" * 1025}]}]}, "embeds.0.fields.0.value"),
    (MESSAGES, {"embeds": [{"description": BIG}, {"description": "x" * 1905}]}, "embeds"),
    (MESSAGES, {"components": [*row(button())["components"]] * 6}, "components"),
    (MESSAGES, {"components": [button()]}, "components.0.type"),
    (MESSAGES, row(*[button(custom_id=str(i)) for i in range(6)]), "components.0.components"),
    (MESSAGES, row(menu(), button()), "components.0.components"),
    (MESSAGES, row(button(), button()), "components"),
    (MESSAGES, row(button(custom_id="x" * 101)), "components.0.components.0.custom_id"),
    (MESSAGES, row(button(custom_id="")), "components.0.components.0.custom_id"),
    (MESSAGES, row(button(label="x" * 81)), "components.0.components.0.label"),
    (MESSAGES, row(button(label=" ")), "components.0.components.0.label"),
    (MESSAGES, row(menu(options=[])), "components.0.components.0.options"),
    (MESSAGES, row(menu(options=options(26))), "components.0.components.0.options"),
    (MESSAGES, row(menu(options=[{"label": "x", "value": "x"}] * 2)), "components.0.components.0.options"),
    (MESSAGES, row(menu(options=options(1, label="x" * 101))), "components.0.components.0.options.0.label"),
    (MESSAGES, row(menu(options=options(1, description="x" * 101))), "components.0.components.0.options.0.description"),
    (MESSAGES, row(menu(placeholder="x" * 151)), "components.0.components.0.placeholder"),
    (MESSAGES, row(menu(max_values=2)), "components.0.components.0.max_values"),
    (CALLBACK, {"type": 8, "data": {"choices": [{"name": "x", "value": "x"}] * 26}}, "data.choices"),
    (CALLBACK, {"type": 8, "data": {"choices": [{"name": "", "value": "x"}]}}, "data.choices.0.name"),
    (CALLBACK, {"type": 8, "data": {"choices": [{"name": "x", "value": "x" * 101}]}}, "data.choices.0.value"),
    (CALLBACK, modal(text_input(), title="x" * 46), "data.title"),
    (CALLBACK, modal(), "data.components"),
    (CALLBACK, modal(text_input(label="x" * 46)), "data.components.0.components.0.label"),
    (CALLBACK, modal(text_input(placeholder="x" * 101)), "data.components.0.components.0.placeholder"),
    (CALLBACK, modal(text_input(value="x" * 4001)), "data.components.0.components.0.value"),
    (CALLBACK, modal(text_input(value="xy", max_length=1)), "data.components.0.components.0.value"),
    (CALLBACK, modal(text_input(), text_input()), "data.components"),
    (CALLBACK, modal({"type": 18, "label": "x" * 46, "component": menu()}), "data.components.0.label"),
    (COMMANDS, command(name="Say"), "0(Say).name"),
    (COMMANDS, command(name="say it"), "0(say it).name"),
    (COMMANDS, command(description=""), "0(say).description"),
    (COMMANDS, command(description="x" * 101), "0(say).description"),
    (COMMANDS, command(options=[option(name=f"o{i}") for i in range(26)]), "0(say).options"),
    (COMMANDS, command(options=[option(name="a"), option(name="b", required=True)]), "0(say).options"),
    (COMMANDS, command(options=[option(choices=[{"name": "x", "value": "x"}] * 26)]), "0(say).options.0(text).choices"),
    (COMMANDS, command(options=LONG), "0(say)"),
    (COMMANDS, command(name_localizations={"xx": "sagen"}), "0(say).name_localizations.xx"),
    (COMMANDS, command(name_localizations={"de": "Sagen"}), "0(say).name_localizations.de"),
    (COMMANDS, command(description_localizations={"de": "x" * 101}), "0(say).description_localizations.de"),
    (COMMANDS, command(name="Quote", type=3), "0(Quote)"),
    (COMMANDS, command() * 2, ""),
    (THREAD, {"name": "x" * 101}, "name"),
    (HOOKS, {"name": "my discord"}, "name"),
    (PERSONA, {"content": "x", "username": "Clyde"}, "username"),
    (PERSONA, {"content": "x", "username": " "}, "username"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "body"), WITHIN)
def test_what_is_within_the_limits_is_no_problem(call: str, body: Any) -> None:
    assert broken(call, body) == []


@pytest.mark.parametrize(("call", "body", "where"), OVER)
def test_what_is_over_a_limit_is_named(call: str, body: Any, where: str) -> None:
    assert set(broken(call, body)) == {where}


def test_eleven_files_are_too_many() -> None:
    assert broken(MESSAGES, {"content": "x"}, files=10) == []
    assert broken(MESSAGES, {"content": "x"}, files=11) == ["attachments"]


@pytest.fixture
async def fake(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeDiscord]:
    async with serving(monkeypatch) as server:
        yield server


async def test_a_violation_is_refused_and_remembered(fake: FakeDiscord) -> None:
    async with running(fake, Client()) as bot:
        channel = bot.get_partial_messageable(fake.channel_id)
        await channel.send("fine")
        assert fake.violations == []
        with pytest.raises(discord.HTTPException) as caught:
            await channel.send(embed=discord.Embed(title="x" * 257))
        assert (caught.value.status, caught.value.code) == (400, 50035)
        assert len(fake.messages) == 1
        assert [v.split(": ")[1] for v in fake.violations] == ["embeds.0.title"]


async def test_commands_over_a_limit_fail_the_sync(fake: FakeDiscord) -> None:
    bot = Client()

    @bot.tree.command(description="x" * 101)
    async def say(interaction: discord.Interaction[Any]) -> None: ...

    with pytest.raises(app_commands.CommandSyncFailure):
        async with bot:
            await bot.start(fake.token)
    assert "0(say).description" in fake.violations[0] and fake.commands is None


def test_a_body_that_the_openapi_document_does_not_have_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"type": "object", "properties": {"ids": {"items": {"$ref": "#/components/schemas/SnowflakeType"}}}}
    operation = {"requestBody": {"content": {"application/json": {"schema": body}}}}
    schemas = {"SnowflakeType": {"type": "string", "pattern": "^[0-9]+$"}}
    document = {"paths": {"/channels/{channel_id}/messages": {"post": operation}}, "components": {"schemas": schemas}}
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    monkeypatch.delenv("MOCKINGBIRD_OPENAPI", raising=False)
    assert schema_problems("POST", "/channels/1/messages", {"ids": ["x"]}) == []
    monkeypatch.setenv("MOCKINGBIRD_OPENAPI", str(tmp_path / "openapi.json"))
    assert schema_problems("POST", "/channels/1/messages", {"ids": ["1", 2]}) == []
    assert "ids.0" in schema_problems("POST", "/channels/1/messages", {"ids": ["x"]})[0]
    assert schema_problems("PATCH", "/channels/1/messages", {"ids": ["x"]}) == []
    assert schema_problems("POST", "/elsewhere", {"ids": ["x"]}) == []
