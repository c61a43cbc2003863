"""Text for Discord. What a model wrote is hostile input: it can ping nobody and format nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import discord

from bot.permits import Check
from bot.progress import duration, figures, fraction, headline
from bot.records import HOUSE, Consent, Job, JobState, JobView, ModelVersion
from bot.service import Answer
from bot.strings import Strings
from models.records import Manifest

MAX_CHARS = 2000  # of a message, by Discord
MAX_EMBED_CHARS = 4096  # of an embed's description
BAR_CELLS = 20
MAX_QUOTE_CHARS = 300
MAX_ACCOUNTS_CHARS = 500  # of a label, which has to leave room for what was said
MAX_LINE_HANDLES = 3  # of a model in a list
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # breaks a line, or turns it around
_JOINERS = {"\u200c", "\u200d", *map(chr, range(0xE0020, 0xE0080))}  # of letters (Persian) and of emoji (flags)
_MARKDOWN = re.compile(r"[\\*_~|`\[\]]|^(?:[>#-]|\s+-)")
_ESCAPED = re.compile(r"\\(.)")
_LINK = re.compile(r"(?:https?://|www\.|discord(?:app)?\.(?:gg|com)/)\S+", re.IGNORECASE)
_PLAIN_LINK = re.compile(r"https?://[\w./?=&%#~:+,;-]+", re.ASCII)
_MARKUP = re.compile(r"<(?=[#@:/]|a:|t:|id:)")  # channels, emoji, commands, times
_PROMPT = re.compile(r"^> \*\*((?:[^\\*]|\\.)+)\*\*", re.MULTILINE)


def literal(text: str, *, mentions: bool = False) -> str:
    """The text as it is to be read: no Markdown, no mention, no link preview, one line.

    `mentions` leaves channels clickable, for sentences of our own.
    """
    shown = (" " if unicodedata.category(c) in _HIDDEN and c not in _JOINERS else c for c in text)
    one_line = " ".join("".join(shown).split())
    escaped = discord.utils.escape_mentions(_MARKDOWN.sub(r"\\\g<0>", one_line))
    return escaped if mentions else _MARKUP.sub("<\u200b", escaped)


def unliteral(text: str) -> str:
    """The text that `literal` was given, up to white space."""
    return _ESCAPED.sub(r"\1", text).replace("@\u200b", "@").replace("<\u200b", "<")


def generated(text: str, *, links: bool) -> str:
    """What a model wrote, as it is to be read; with its links clickable, or without them."""
    if not links:
        return literal(_LINK.sub("", text))
    # An escape within a link would break it, so a plain one is left as it is.
    return " ".join(word if _PLAIN_LINK.fullmatch(word) else literal(word) for word in text.split())


def accounts(handles: Sequence[str]) -> str:
    return " & ".join(f"@\u200b{literal(handle)}" for handle in handles)


def when(time: datetime) -> str:
    return f"<t:{int(time.timestamp())}:R>"


def body(text: str) -> dict[str, Any]:
    """The text as the parts of a message: its content, or where that is too small for it an embed."""
    if len(text) <= MAX_CHARS:
        return {"content": text}
    return {"embed": discord.Embed(description=text[:MAX_EMBED_CHARS])}


def text_of(message: discord.Message) -> str:
    """What `body` was given, for a message of the bot."""
    return message.content or next((embed.description or "" for embed in message.embeds), "")


def answer_text(answer: Answer, say: Strings, *, links: bool) -> str:
    """A `say`: the prompt in bold, the completions, and whose voice it is not."""
    lines = []
    for text in answer.texts:
        shown = " ".join(text.split())
        if answer.prompt and shown.startswith(answer.prompt):
            rest = shown[len(answer.prompt) :]
            shown_rest = generated(rest, links=links)
            space = " " if rest.startswith(" ") else ""
            lines.append(f"> **{literal(answer.prompt)}**{space}{shown_rest}")
        else:
            lines.append(f"> {generated(shown, links=links) or '…'}")
    return fitting(lines, label(answer.model, say), gap="\n\n", most=MAX_EMBED_CHARS)


def reply_text(answer: Answer, say: Strings, *, links: bool, quoted: str = "") -> str:
    """An answer to somebody's text, which is quoted where Discord does not show it."""
    quote = [f"> {literal(quoted[:MAX_QUOTE_CHARS])}"] if quoted else []
    return fitting([*quote, generated(answer.texts[0], links=links) or "…"], label(answer.model, say))


def prompt_of(text: str) -> str:
    """The prompt in a text that `answer_text` made; empty if there was none."""
    found = _PROMPT.search(text)
    return unliteral(found[1]) if found else ""


def quoted_in(text: str) -> str:
    """The text that `reply_text` quoted, or that a menu asks about; empty if there is none."""
    return next((unliteral(line.removeprefix("> ")) for line in text.splitlines() if line.startswith("> ")), "")


def spoken_in(text: str) -> str:
    """What was said in a message of the bot, without its label, quotes and escapes."""
    lines = [line for line in text.splitlines() if not line.startswith("-# ")]
    return " ".join(unliteral(line.removeprefix("> ").replace("**", "")) for line in lines if line.strip())


def label(model: ModelVersion, say: Strings) -> str:
    who = accounts(model.handles)
    if len(who) > MAX_ACCOUNTS_CHARS:
        who = f"{who[:MAX_ACCOUNTS_CHARS].rpartition(' & ')[0]} …"
    return say("say.label", accounts=who, name=literal(model.name), version=model.version)


def title(job: Job, say: Strings) -> str:
    return literal(job.title or say("train.unnamed"))


def progress_text(view: JobView, say: Strings) -> str:
    """A job's progress message."""
    job = view.job
    lines = [say("train.title", name=title(job, say), job=job.id)]
    done = fraction(view)
    if job.state.is_over or job.state == JobState.QUEUED or done is None:
        lines.append(headline(view, say))
    else:
        full = round(done * BAR_CELLS)
        lines.append(f"{headline(view, say)} `{'█' * full}{'░' * (BAR_CELLS - full)}` {done:.0%}")
    known = figures(view, say)
    if not job.state.is_over and not view.paused and known:
        lines.append(" · ".join(known))
    if job.error:
        lines.append(literal(job.error))
    lines += [f"-# {literal(notice)}" for notice in view.notices[-3:]]
    if view.paused:
        lines.append(say("train.paused"))
    if view.sample and not job.state.is_over:
        lines.append(f"> {generated(view.sample, links=False)}")
    return fitting(lines, "")


def model_line(model: ModelVersion, say: Strings, *, notes: Sequence[str]) -> str:
    """A model in a list."""
    line = say(
        "models.line",
        name=literal(model.name),
        version=model.version,
        accounts=accounts(model.handles[:MAX_LINE_HANDLES]) + (" …" if len(model.handles) > MAX_LINE_HANDLES else ""),
        posts=model.posts,
        bits=model.bits_per_byte,
        when=when(model.created_at),
    )
    return " · ".join([line, *notes])


def model_info(
    model: ModelVersion,
    manifest: Manifest,
    versions: Sequence[ModelVersion],
    samples: Sequence[str],
    consents: Sequence[Consent],
    say: Strings,
) -> str:
    """Everything about a model on one page."""
    metrics = manifest.metrics
    lines = [say("models.info", name=literal(model.name), version=model.version, when=when(model.created_at))]
    lines += [
        say(
            "models.account",
            account=f"**@\u200b{literal(account.handle)}**",
            downloaded=account.downloaded,
            retweets=account.retweets,
            short=account.short,
            left_out=sum(account.left_out.values()),
            learned=account.learned,
        )
        for account in manifest.accounts
    ]
    lines += dict.fromkeys(
        say(
            "models.consent",
            who=f"<@{consent.user_id}>"
            if consent.user_id
            else say("models.operator" if model.server_id == HOUSE else "models.somebody"),
            when=when(consent.asked_at),
            ground=say(f"choice.ground.{consent.ground}"),
        )
        for consent in consents
    )
    lines.append(
        say(
            "models.quality",
            before=metrics.bits_per_byte_before,
            after=metrics.bits_per_byte_after,
            held_out=metrics.held_out_posts,
        )
    )
    lines.append(
        say(
            "models.run",
            method={"full": "full", "lora": "LoRA"}[manifest.method],
            base=literal(manifest.base),
            steps=metrics.steps,
            duration=duration(metrics.seconds),
            speed=metrics.tokens_per_s,
            hardware=literal(metrics.hardware),
        )
    )
    shown = [say("models.version", version=v.version, bits=v.bits_per_byte) for v in versions[:12]]
    lines.append(say("models.versions", versions=" · ".join(shown) + (" …" if len(versions) > 12 else "")))
    if samples:
        lines.append(say("models.samples"))
        lines += [f"> {generated(sample, links=False) or '…'}" for sample in samples]
    return fitting(lines, say("train.label") if samples else "", most=MAX_EMBED_CHARS)


def checks_text(checks: Sequence[Check], say: Strings) -> str:
    """Each rule in plain words, and whether it lets one through."""
    lines = [
        f"{'✓' if check.passed else '✗'} " + say(f"why.{check.rule}.{'yes' if check.passed else 'no'}", **check.facts)
        for check in checks
    ]
    return "\n".join(lines)


def fitting(lines: Sequence[str], footer: str, *, gap: str = "\n", most: int = MAX_CHARS) -> str:
    """The lines and the footer as one message; lines that do not fit are left out, and that is said."""
    footer = f"\n{footer}" if footer else ""
    more = f"{gap}…"
    text = ""
    for line in lines:
        longer = text + (gap if text else "") + line
        if len(longer) + len(footer) + len(more) > most:
            return (text or line[: most - len(footer) - len(more)]) + more + footer
        text = longer
    return text + footer
