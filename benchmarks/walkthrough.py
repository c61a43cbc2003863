"""Every command on Discord, as a member, a trainer and an admin meet it: `python -m benchmarks.walkthrough FOLDER`.

Runs the real bot process against the tests' stand-in for Discord, with the built-in base and the sample archive, and
writes into FOLDER: `walkthrough.md`, the transcript, and pictures of the messages as Discord would show them, where a
`chromium` is installed (their HTML where none is). One run takes about two minutes.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.discord_page import Page
from bot.demo import SAMPLE
from tests.fakes.discord_payloads import DEFAULT_PERMISSIONS, MANAGE_GUILD, Interaction
from tests.fakes.discord_server import FakeDiscord

Json = dict[str, Any]
NAME = "nightbus_nell"
PICTURE = "(picture)"
HEAD = """# Every command, as it looks

Printed by `python -m benchmarks.walkthrough`: the real bot process against the tests' stand-in for Discord, with the
built-in base and the sample archive. mia is a member, theo a trainer whom the server's Integrations page lets use
`/train`, ada an admin. The pictures are the same messages as Discord would show them, drawn by our own HTML. The posts
are a small model's: the voice is there, the sense is not.
"""
CONFIG = """
[bot]
data_dir = "{data}"
[discord]
message_content = true
[blocks]
handles = ["quietperson"]
[x_api]
accept_terms = true
"""


class Walk:
    """One walk: acts, writes down what was answered, and puts it on pages."""

    def __init__(self, fake: FakeDiscord, folder: Path) -> None:
        self.fake = fake
        self.folder = folder
        self.lines: list[str] = []
        self.page: Page | None = None
        self.ada, self.mia, self.theo = fake.member_id, fake.add_member("mia"), fake.add_member("theo")
        fake.users[self.ada]["username"] = "ada"
        fake.bot_user["username"] = "Mockingbird"

    def begin(self, title: str) -> None:
        names = {user: self.fake.users[user]["username"] for user in self.fake.users}
        names |= {int(role["id"]): role["name"] for role in self.fake.guilds[self.fake.guild_id]["roles"]}
        channels = {int(key): channel.get("name") or "direct" for key, channel in self.fake.channels.items()}
        self.page = Page(names, channels, self._picture)
        self.lines += ["", f"## {title}", "", PICTURE, ""]

    def _picture(self, url: str) -> str:
        file_id = int(url.rsplit("/", 2)[1])
        return "data:image/png;base64," + base64.b64encode(self.fake.files[file_id][1]).decode()

    def end(self, name: str) -> None:
        assert self.page
        (self.folder / f"{name}.html").write_text(self.page.render(), encoding="utf-8")
        self.lines = [f"![]({name}.png)" if line == PICTURE else line for line in self.lines]

    def text(self) -> str:
        """The transcript, with names in the place of numbers."""
        assert self.page
        text = "\n".join(self.lines).replace("\u200b", "")
        text = re.sub(r"<@&?(\d+)>", lambda m: f"@{self.page.names.get(int(m[1]), '?')}", text)
        text = re.sub(r"<#(\d+)>", lambda m: f"#{self.page.channels.get(int(m[1]), '?')}", text)
        text = re.sub(r"<t:\d+:R>", "just now", text)
        text = re.sub(r"<t:(\d+):\w>", "in 7 days", text)
        return re.sub(r"https://discord\.com/channels/\S+", "(link to the message)", text)

    def tell(self, who: int, what: str) -> None:
        self.lines += [f"**{self.fake.users[who]['username']}** {what}", ""]

    def show(self, message: Json, *, used: str = "") -> Json:
        assert self.page
        self.page.message(message, used=used)
        is_private = bool(message["flags"] & 64)
        author = message["author"]["username"]
        self.lines.append(f"> **{author}**{' (only to who asked)' if is_private else ''}  ")
        text = message["content"] or "\n".join(embed.get("description") or "" for embed in message["embeds"])
        self.lines += [f"> {line}  " for line in text.replace("> ", "", 0).split("\n")]
        labels = [
            c.get("label") or c.get("placeholder") or "" for row in message["components"] for c in row["components"]
        ]
        if labels:
            self.lines.append("> " + " ".join(f"`[{label}]`" for label in labels))
        self.lines += [f"> *attached: {a['filename']}*" for a in message["attachments"]] + [""]
        return message

    async def slash(
        self, who: int, name: str, options: Json | None = None, *, manages: bool = False, **how: Any
    ) -> Json:
        typed = " ".join(
            [f"/{name}", *how.get("subcommand", "").split(), *(f"{k}:{v}" for k, v in (options or {}).items())]
            + [f"{key}:({file[0]})" for key, file in how.get("attachments", {}).items()]
        )
        self.tell(who, f"types `{typed}`")
        permissions = MANAGE_GUILD if manages else DEFAULT_PERMISSIONS
        interaction = await self.fake.slash(name, options, member_id=who, permissions=permissions, **how)
        return await self.answer(who, interaction, typed)

    async def answer(self, who: int, interaction: Interaction, typed: str) -> Json:
        user = self.fake.users[who]["username"]
        what = typed if typed.startswith("[") else typed.split(" ")[0]
        return self.show(await interaction.answered(60), used=f"{user} used {what}")

    async def click(self, who: int, message: Json, label: str, *, manages: bool = False, **how: Any) -> Json:
        self.tell(who, f"presses `[{label}]`" if "values" not in how else f"chooses from `[{label}]`")
        custom_id = next(
            c["custom_id"]
            for row in message["components"]
            for c in row["components"]
            if label in (c.get("label") or c.get("placeholder") or "")
        )
        permissions = MANAGE_GUILD if manages else DEFAULT_PERMISSIONS
        interaction = await self.fake.click(int(message["id"]), custom_id, who, permissions, **how)
        return await self.answer(who, interaction, f"[{label}]")

    async def say(self, who: int, text: str, **how: Any) -> Json:
        known = set(self.fake.messages)
        message_id = await self.fake.say(text, author_id=who, **how)
        assert self.page
        self.page.message(self.fake.messages[message_id])
        mention = "@Mockingbird " if how.get("mention_bot") else ""
        self.tell(who, f"writes: {mention}{text}")

        def reply() -> Json | None:
            fresh = [m for i, m in self.fake.messages.items() if i not in known and i != message_id]
            return next((m for m in fresh if m["author"].get("bot")), None)

        return self.show(await self.fake.wait_for(reply, 60, what="a reply"))

    def latest(self, word: str) -> Json | None:
        return next((m for m in reversed(list(self.fake.messages.values())) if word in m["content"]), None)


async def walk(w: Walk) -> None:
    fake = w.fake
    archive = (SAMPLE.name, SAMPLE.read_bytes())
    fake.set_command_permissions("train", [{"id": str(w.theo), "type": 2, "permission": True}])

    w.begin("A member, before there is any model")
    await w.slash(w.mia, "help")
    await w.slash(w.mia, "say")
    await w.slash(w.mia, "why", {"what": "train"})
    await w.slash(w.mia, "train", {"handles": "@nightbus_nell"}, attachments={"archive": archive})
    w.end("1-before")

    w.begin("A trainer, whom the server's Integrations page lets use /train")
    await w.slash(w.theo, "train", {"handles": "nightbus-nell.bsky.social"})
    await w.slash(w.theo, "train", {"handles": "nightbus-nell.bsky.social", "ground": "own_account"})
    await w.slash(w.theo, "train", {"handles": "@quietperson"}, attachments={"archive": archive})
    await w.slash(w.theo, "train", {"handles": f"@{NAME}"}, attachments={"archive": archive})
    await fake.wait_for(
        lambda: (m := w.latest("**Training")) and "bits/byte" in m["content"] and "> " in m["content"], 120
    )
    progress = w.latest("**Training")
    assert progress
    w.show(dict(progress))
    await w.slash(w.theo, "jobs", subcommand="list")
    w.end("2-training")
    ready = await fake.wait_for(lambda: w.latest("is ready"), 300, what="the end of the training")
    w.begin("The end of the training")
    w.show(ready)
    await w.click(w.mia, ready, "A post")
    await w.slash(w.theo, "train", {"handles": f"@{NAME}"}, attachments={"archive": archive})
    paid = await w.slash(w.theo, "train", {"handles": "@kettle", "ground": "public_figure"})
    await w.click(w.theo, paid, "Cancel")
    again = await w.slash(w.theo, "jobs", subcommand="list")
    assert "cancelled" in again["content"]
    w.end("3-ready")

    w.begin("A member has posts written")
    said = await w.slash(w.mia, "say", {"prompt": "my dream is", "count": 3, "creativity": "lively"})
    await w.click(w.theo, said, "Again")
    await w.click(w.theo, said, "Delete")
    reply = await w.say(w.mia, "what is the best soup?", mention_bot=True)
    await w.say(w.mia, "and the worst one?", mention_bot=True, reply_to=int(reply["id"]))
    await w.say(w.theo, f"@{NAME} do you like the rain?", mention_bot=True)
    w.end("4-say")

    w.begin("Answer as…, a direct message, and the app installed to a user")
    target = await fake.say("The buses are late again today.", author_id=w.theo)
    assert w.page
    w.page.message(fake.messages[target])
    w.tell(w.mia, "chooses Apps > Answer as… on theo's “The buses are late again today.”")
    menu = await w.answer(w.mia, await fake.context_menu("Answer as…", target, member_id=w.mia), "Answer as…")
    option = menu["components"][0]["components"][0]["options"][0]["value"]
    await w.click(w.mia, menu, "Choose a voice", values=[option])
    await w.say(w.mia, "are you there?", where="dm")
    await w.slash(w.mia, "models", subcommand="list")
    await w.slash(w.mia, "models", {"model": NAME}, subcommand="info")
    await w.slash(w.mia, "status")
    await w.slash(w.mia, "why", {"what": "mention"})
    w.end("5-members")

    w.begin("An admin manages models")
    await w.slash(w.mia, "models", {"model": NAME}, subcommand="use")
    await w.slash(w.ada, "models", {"model": NAME}, subcommand="use", manages=True)
    await w.slash(w.ada, "models", {"model": NAME, "new_name": "Nell"}, subcommand="rename", manages=True)
    w.tell(w.ada, "types `/models delete model:Nell`")
    opened = await fake.slash(
        "models", {"model": "Nell"}, subcommand="delete", member_id=w.ada, permissions=MANAGE_GUILD
    )
    await fake.wait_for(lambda: opened.modal, what="the form")
    w.page.form(opened.modal)
    w.lines += [f"> *a form opens: {opened.modal['title']}*", ""]
    w.tell(w.ada, "types `Nell` into it")
    deleted = await w.answer(w.ada, await fake.submit(opened, {"name": "Nell"}), "[Delete a model]")
    await w.click(w.ada, deleted, "Restore", manages=True)
    w.end("6-models")

    log_channel = fake.add_channel("bot-log")
    role = fake.add_role("Trainers")
    w.begin("An admin's settings")
    panel = await w.slash(w.ada, "settings", manages=True)
    await _change(w, panel, "settings:log_channel", [str(log_channel)])
    await _change(w, panel, "settings:trainer_roles", [str(role)])
    await _change(w, panel, "settings:threads")
    fake.set_permissions(fake.app_permissions | 1 << 29)  # Manage Webhooks
    await asyncio.sleep(0.5)  # the bot hears of it by the gateway
    await _change(w, panel, "settings:persona")
    w.show(dict(fake.messages[int(panel["id"])]))
    spoken = await w.slash(w.mia, "say", {"prompt": "tonight"})
    assert "There it is" in spoken["content"]
    w.show(
        await fake.wait_for(
            lambda: next((m for m in fake.messages.values() if "(AI)" in m["author"]["username"]), None)
        )
    )
    w.end("7-settings")

    w.begin("Forgetting")
    await w.slash(w.mia, "forget", {"handle": "@mia@birds.example"})
    await w.slash(w.theo, "mydata")
    await w.slash(w.ada, "forget", {"handle": f"@{NAME}", "block": True}, manages=True)
    await w.slash(w.ada, "train", {"handles": f"@{NAME}"}, attachments={"archive": archive}, manages=True)
    w.tell(w.ada, "reads the log channel:")
    for message in list(fake.messages.values()):
        if message["channel_id"] == str(log_channel):
            w.show(message)
    w.end("8-forgetting")

    w.begin("The same in Japanese")
    await w.slash(w.mia, "help", locale="ja")
    await w.slash(w.mia, "why", {"what": "train"}, locale="ja")
    w.end("9-japanese")


async def _change(w: Walk, panel: Json, custom_id: str, values: list[str] | None = None) -> None:
    """Use one of the panel's menus or buttons, and wait until the panel shows it."""
    before = w.fake.messages[int(panel["id"])]["edited_timestamp"]
    how = {"values": values} if values else {}
    await w.fake.click(int(panel["id"]), custom_id, w.ada, MANAGE_GUILD, **how)
    await w.fake.wait_for(lambda: w.fake.messages[int(panel["id"])]["edited_timestamp"] != before, what=custom_id)
    w.tell(w.ada, f"changes `{custom_id.removeprefix('settings:')}` in the panel")


async def record(folder: Path) -> None:
    """Walk, and write the transcript and the pages."""
    with tempfile.TemporaryDirectory() as data:
        config = Path(data) / "config.toml"
        config.write_text(CONFIG.format(data=Path(data) / "var"))
        async with FakeDiscord() as fake:
            walker = Walk(fake, folder)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "bot", "--config", str(config), "run"),
                env={
                    **os.environ,
                    "DISCORD_TOKEN": fake.token,
                    "MOCKINGBIRD_DISCORD_API": f"{fake.url}/api/v10",
                    "X_BEARER_TOKEN": "never used: what it costs is not agreed to",
                },
            )
            try:
                await fake.wait_ready(60)
                await walk(walker)
            finally:
                process.terminate()
                await process.wait()
            (folder / "walkthrough.md").write_text(f"{HEAD}\n{walker.text().strip()}\n", encoding="utf-8")
            print(f"violations of Discord's limits: {fake.violations or 'none'}")
            print(f"requests that the stand-in does not know: {fake.unknown_routes or 'none'}")


def take_pictures(folder: Path, chromium: str) -> None:
    """A picture of each page, as high as what is on it."""
    quiet = ("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync")
    for page in sorted(folder.glob("*.html")):
        with tempfile.TemporaryDirectory() as profile:
            base = [chromium, "--headless", "--no-sandbox", *quiet, f"--user-data-dir={profile}"]
            size = [*base, "--virtual-time-budget=1000", "--dump-dom", page.absolute().as_uri()]
            dom = subprocess.run(size, check=True, capture_output=True, text=True).stdout
            height = int(dom.partition('data-height="')[2].partition('"')[0] or 1400)
            picture = page.with_suffix(".png")
            window = [f"--window-size=852,{height + 16}", "--hide-scrollbars", f"--screenshot={picture.absolute()}"]
            subprocess.run([*base, *window, page.absolute().as_uri()], check=True, capture_output=True)
            Image.open(picture).convert("RGB").quantize(64).save(picture, optimize=True)
            page.unlink()


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(record(folder))
    if chromium := shutil.which("chromium"):
        take_pictures(folder, chromium)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
