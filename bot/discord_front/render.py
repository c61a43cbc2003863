"""Text for Discord. What a model wrote is hostile input: it can ping nobody and format nothing."""

from __future__ import annotations

import discord

from bot.progress import figures, fraction, headline
from bot.records import JobState, JobView, ModelVersion
from bot.service import Answer

MAX_CHARS = 2000  # of a message, by Discord
BAR_CELLS = 20


def literal(text: str) -> str:
    """The text as it is to be read: no Markdown, no mention, no link preview, one line."""
    one_line = " ".join("".join(c if c.isprintable() or c in "\u200d\ufe0f" else " " for c in text).split())
    return discord.utils.escape_mentions(discord.utils.escape_markdown(one_line, ignore_links=False))


def accounts(handles: tuple[str, ...]) -> str:
    return " & ".join(f"@\u200b{literal(handle)}" for handle in handles)


def answer_text(answer: Answer) -> str:
    """A `say`: the prompt in bold, the completions, and whose voice it is not."""
    lines = []
    for text in answer.texts:
        shown = " ".join(text.split())
        if answer.prompt and shown.startswith(answer.prompt):
            shown_rest = literal(shown[len(answer.prompt) :])
            space = " " if shown[len(answer.prompt) :].startswith(" ") else ""
            lines.append(f"> **{literal(answer.prompt)}**{space}{shown_rest}")
        else:
            lines.append(f"> {literal(shown)}")
    return fitting(lines, _label(answer.model), gap="\n\n")


def reply_text(answer: Answer) -> str:
    """An answer to a mention."""
    return fitting([literal(answer.texts[0])], _label(answer.model))


def progress_text(view: JobView) -> str:
    """A job's progress message."""
    job = view.job
    lines = [f"**Training {literal(job.title)}** · job #{job.id}"]
    done = fraction(view)
    if job.state.is_over or job.state == JobState.QUEUED or done is None:
        lines.append(headline(view))
    else:
        full = round(done * BAR_CELLS)
        lines.append(f"{headline(view)} `{'█' * full}{'░' * (BAR_CELLS - full)}` {done:.0%}")
    if not job.state.is_over and figures(view):
        lines.append(" · ".join(figures(view)))
    if job.error:
        lines.append(literal(job.error))
    lines += [f"-# {literal(notice)}" for notice in view.notices[-3:]]
    if view.sample and not job.state.is_over:
        lines.append(f"> {literal(view.sample)}")
    return fitting(lines, "")


def models_text(models: list[ModelVersion]) -> str:
    """The list of models, as many as fit."""
    if not models:
        return "There is no model here yet. /train makes one."
    lines = [
        f"**{literal(m.name)}** v{m.version} · {accounts(m.handles)} · {m.posts:,} posts · "
        f"{m.bits_per_byte:.2f} bits/byte · <t:{int(m.created_at.timestamp())}:R>"
        for m in models
    ]
    return fitting(lines, "")


def fitting(lines: list[str], footer: str, *, gap: str = "\n") -> str:
    """The lines and the footer as one message; lines that do not fit are left out, and that is said."""
    footer = f"\n{footer}" if footer else ""
    more = f"{gap}…"
    text = ""
    for line in lines:
        longer = text + (gap if text else "") + line
        if len(longer) + len(footer) + len(more) > MAX_CHARS:
            return (text or line[: MAX_CHARS - len(footer) - len(more)]) + more + footer
        text = longer
    return text + footer


def _label(model: ModelVersion) -> str:
    return f"-# AI imitation of {accounts(model.handles)} · model {literal(model.name)} v{model.version}"
