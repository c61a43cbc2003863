"""Messages as Discord would show them: a page of HTML from the stand-in's records."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

STYLE = """
body { background: #313338; color: #dbdee1; font: 16px/1.375 "Noto Sans", "Noto Sans CJK JP", "Noto Color Emoji";
       margin: 0; padding: 16px 0; width: 820px }
.m { display: grid; grid-template-columns: 72px 1fr; padding: 6px 24px 6px 0 } .m.private { background: #2b2d31 }
.avatar { width: 40px; height: 40px; border-radius: 50%; margin-left: 16px; display: grid; place-items: center;
          color: #fff; font-weight: 600; background: #5865f2 } .bot .avatar { background: #3ba55c }
.who { font-weight: 600; color: #f2f3f5 } .tag { background: #5865f2; color: #fff; font-size: 10px; padding: 1px 5px;
       border-radius: 4px; margin-left: 4px; vertical-align: 2px }
.at { color: #949ba4; font-size: 12px; margin-left: 6px }
.reply, .used { color: #b5bac1; font-size: 13px; margin: 0 0 2px 40px; white-space: nowrap; overflow: hidden;
         text-overflow: ellipsis } .sub { color: #949ba4; font-size: 13px } blockquote { margin: 2px 0;
         border-left: 4px solid #4e5058; padding: 0 8px 0 12px } code { background: #1e1f22; padding: 1px 4px;
         border-radius: 4px; font: 14px "Noto Sans Mono", monospace } .ping { background: #3c4270; color: #c9cdfb;
         border-radius: 3px; padding: 0 2px } .time { background: #3b3d44; border-radius: 3px; padding: 0 2px }
.row { display: flex; gap: 8px; margin-top: 8px; flex-wrap: wrap }
.b { background: #4e5058; color: #fff; font-size: 14px; border-radius: 8px; padding: 6px 14px }
.b.s1 { background: #5865f2 } .b.s3 { background: #248046 }
       .b.s4 { background: #da373c } .b.off { opacity: .5 }
.menu { background: #1e1f22; color: #949ba4; border-radius: 8px;
       padding: 9px 12px; width: 420px; font-size: 14px } .menu b { color: #dbdee1; font-weight: 400 }
.embed { background: #2b2d31; border-left: 4px solid #1e1f22; border-radius: 4px; padding: 10px 14px;
         max-width: 520px }
img { max-width: 520px; border-radius: 8px; margin-top: 6px; display: block } .file { background: #2b2d31;
      border: 1px solid #1e1f22; border-radius: 8px; padding: 10px 14px; margin-top: 6px; width: 300px }
.note { color: #949ba4; font-size: 12px; margin-top: 4px } .note a { color: #00a8fc }
.form { background: #313338; border: 1px solid #1e1f22; border-radius: 8px; width: 440px; margin: 8px 72px;
        padding: 16px }
.form h3 { margin: 0 0 12px } .form label { font-size: 12px; font-weight: 600; color: #b5bac1; display: block }
.form .in { background: #1e1f22; border-radius: 4px; padding: 8px; margin: 4px 0 12px; min-height: 20px }
.gap { color: #949ba4; font-size: 12px; text-align: center; margin: 14px 24px; border-top: 1px solid #3f4147;
       padding-top: 6px }
"""


class Page:
    """Collects what is shown, top to bottom."""

    def __init__(self, names: Mapping[int, str], channels: Mapping[int, str], picture: Callable[[str], str]) -> None:
        self.names = names
        self.channels = channels
        self._picture = picture  # URL of an attachment -> something that an <img> can show
        self._parts: list[str] = []

    def heading(self, text: str) -> None:
        self._parts.append(f'<div class="gap">{html.escape(text)}</div>')

    def message(self, message: Json, *, used: str = "") -> None:
        """A message as its readers see it; `used` is the command that it answers."""
        author = message["author"]
        is_private = bool(message.get("flags", 0) & 64)
        name = author.get("global_name") or author["username"]
        top = f'<div class="used">╭ {html.escape(used)}</div>' if used else self._reply(message)
        tag = '<span class="tag">APP</span>' if author.get("bot") else ""
        body = self.markdown(message["content"])
        for embed in message["embeds"]:
            body += f'<div class="embed">{self.markdown(embed.get("description") or "")}</div>'
        for attachment in message["attachments"]:
            is_picture = attachment["filename"].endswith(".png")
            file = html.escape(attachment["filename"])
            body += (
                f'<img src="{self._picture(attachment["url"])}">'
                if is_picture
                else f'<div class="file">📄 {file}</div>'
            )
        body += "".join(self._row(row) for row in message["components"])
        if is_private:
            body += '<div class="note">👁 Only you can see this · <a>Dismiss message</a></div>'
        self._parts.append(
            f'<div class="m {"bot" if author.get("bot") else ""} {"private" if is_private else ""}">'
            f'<div class="avatar">{html.escape(name[:1].upper())}</div><div>{top}'
            f'<span class="who">{html.escape(name)}</span>{tag}<span class="at">Today</span>'
            f"<div>{body}</div></div></div>"
        )

    def form(self, form: Json) -> None:
        """A form that a command or a button opened."""
        fields = ""
        for component in form["components"]:
            label = component.get("label") or component["components"][0].get("label", "")
            inner = component.get("component") or component["components"][0]
            fields += (
                f'<label>{html.escape(label)}</label><div class="in">{html.escape(inner.get("value") or "")}</div>'
            )
        self._parts.append(
            f'<div class="form"><h3>{html.escape(form["title"])}</h3>{fields}<span class="b s1">Submit</span></div>'
        )

    def render(self) -> str:
        measure = "document.documentElement.dataset.height = document.body.scrollHeight"
        body = "".join(self._parts)
        return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{body}<script>{measure}</script>"

    def markdown(self, text: str) -> str:
        """The part of Discord's Markdown that the bot uses."""
        lines = []
        for line in text.split("\n"):
            if line.startswith("-# "):
                lines.append(f'<div class="sub">{self._inline(line[3:])}</div>')
            elif line.startswith("> "):
                lines.append(f"<blockquote>{self._inline(line[2:])}</blockquote>")
            elif line.startswith("- "):
                lines.append(f"<div>&nbsp;• {self._inline(line[2:])}</div>")
            else:
                lines.append(f"<div>{self._inline(line) or '&nbsp;'}</div>")
        return "".join(lines)

    def _inline(self, text: str) -> str:
        held: list[str] = []

        def hold(piece: str) -> str:
            held.append(piece)
            return f"\0{len(held) - 1}\0"

        text = re.sub(r"\\(.)", lambda m: hold(html.escape(m[1])), text)
        text = re.sub(r"`([^`]+)`", lambda m: hold(f"<code>{html.escape(m[1])}</code>"), text)
        text = re.sub(r"<@(\d+)>", lambda m: hold(self._ping("@", self.names.get(int(m[1]), "?"))), text)
        text = re.sub(r"<@&(\d+)>", lambda m: hold(self._ping("@", self.names.get(int(m[1]), "?"))), text)
        text = re.sub(r"<#(\d+)>", lambda m: hold(self._ping("#", self.channels.get(int(m[1]), "?"))), text)
        text = re.sub(r"<t:(\d+):(\w)>", lambda m: hold(_time(int(m[1]), m[2])), text)
        text = re.sub(r"https://discord\.com/channels/\S+", lambda m: hold(self._ping("", "# general › 💬")), text)
        text = html.escape(text)
        text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
        while "\0" in text:
            text = re.sub(r"\0(\d+)\0", lambda m: held[int(m[1])], text)
        return text

    @staticmethod
    def _ping(sign: str, name: str) -> str:
        return f'<span class="ping">{sign}{html.escape(name)}</span>'

    def _reply(self, message: Json) -> str:
        target = message.get("referenced_message")
        if not target:
            return ""
        name, text = html.escape(target["author"]["username"]), self._inline(target["content"])
        return f'<div class="reply">╭ <b>@{name}</b> {text}</div>'

    def _row(self, row: Json) -> str:
        items = ""
        for item in row["components"]:
            if item["type"] == 2:
                emoji = (item.get("emoji") or {}).get("name") or ""
                off = "off" if item.get("disabled") else ""
                label = html.escape(" ".join(part for part in (emoji, item.get("label") or "") if part))
                items += f'<span class="b s{item["style"]} {off}">{label}</span>'
                continue
            chosen = [int(value["id"]) for value in item.get("default_values", [])]
            names = [self.names.get(each) or f"#{self.channels.get(each)}" for each in chosen]
            shown = f"<b>{html.escape(', '.join(names))}</b>" if names else html.escape(item.get("placeholder") or "")
            items += f'<span class="menu">{shown} ▾</span>'
        return f'<div class="row">{items}</div>'


def _time(seconds: int, style: str) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    if style != "R":
        return f'<span class="time">{moment:%d %B %Y %H:%M}</span>'
    away_s = (datetime.now(UTC) - moment).total_seconds()
    words = "a few seconds ago" if away_s < 45 else f"{max(1, round(away_s / 60))} minutes ago"
    return f'<span class="time">{words}</span>'
