"""A job's progress on the bot's own channel message, edited with the bot's token: interaction tokens die young."""

from __future__ import annotations

import asyncio
import io
import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import discord

from bot.discord_front.api import TROUBLE
from bot.discord_front.components import row_of
from bot.discord_front.render import fitting, generated, literal, progress_text, title
from bot.discord_front.speaking import say_button
from bot.discord_front.trainings import cancel_button, retry_button
from bot.progress import duration
from bot.records import Caller, Job, JobState, JobView
from bot.strings import Strings
from models.errors import UserError

if TYPE_CHECKING:
    from bot.discord_front.client import Mockingbird

log = logging.getLogger(__name__)

RETRY_DELAYS_S = (1.0, 5.0, 30.0, 120.0)  # for what has to arrive; the last one again and again
LATE_S = 300.0  # after the end of a job: an announcement that comes later says so
FIRST_POSTS = 3
ARCHIVED = 50083  # Thread is archived: a new message opens it again


class ProgressMessage:
    """The message of one job, from the first word to the announcement of the end."""

    def __init__(self, client: Mockingbird, job: Job) -> None:
        assert job.channel_id is not None
        self._client = client
        self._service = client.service
        self._job = job
        self._channel = client.get_partial_messageable(job.channel_id, guild_id=job.server_id)
        self._message: discord.PartialMessage | None = None
        self._is_archived = False  # the thread that it is in, so that it can't be edited
        if job.message_id is not None:
            self._message = self._channel.get_partial_message(job.message_id)

    @property
    def _say(self) -> Strings:
        """The language of the server, which is not known yet when the bot starts."""
        return self._client.language_of(self._job.server_id)

    async def post(self) -> str:
        """Send the message, unless there is one; returns its address. discord.HTTPException if it can't be sent."""
        if self._message is None:
            view = JobView(job=self._job)
            # The nonce lets Discord tell a second try from a second message.
            sent = await self._channel.send(**self._parts(view), nonce=f"job-{self._job.id}")
            self._message = self._channel.get_partial_message(sent.id)
            self._job = await self._service.show_job_at(self._job.id, sent.channel.id, sent.id)
        return self._message.jump_url

    async def follow(self) -> None:
        """Keep it up to date, at most one edit per interval, and at the end say so in a new message, once.

        A message or a channel that is gone ends the editing, not the job. A bot that stops leaves the rest to the next.
        """
        await self._client.wait_until_ready()  # before that the server's language is unknown
        if self._message is None:
            async for _ in _tries():
                if await self._try_post():
                    break
        interval_s = self._service.config.discord.progress_every_s
        shown: dict[str, Any] = {}
        view = JobView(job=self._job)
        async with aclosing(self._service.watch(self._job.id)) as views:
            async for view in views:
                if view.job.state.is_over:
                    break
                text = progress_text(view, self._say)
                if text != shown.get("content") and self._message is not None:
                    shown = {"content": text}
                    if not await self._edit(view):
                        self._message = None
                    if not view.paused:
                        await asyncio.sleep(interval_s)
                if view.paused:
                    return
        self._job, self._is_archived = view.job, False
        async for _ in _tries():
            if self._message is None or await self._edit(view):
                break
        async for _ in _tries():
            if await self._announce():
                break
        if self._is_archived:  # the announcement has opened the thread again
            await self._edit(view)

    async def _try_post(self) -> bool:
        try:
            await self.post()
        except TROUBLE as exc:
            log.warning("job %d: its progress can't be shown: %s", self._job.id, exc)
            return _is_final(exc)
        return True

    async def _edit(self, view: JobView) -> bool:
        """Whether it worked, or never will; while the job runs, whether there is still a message to edit."""
        assert self._message is not None
        try:
            await self._message.edit(**self._parts(view))
        except (discord.NotFound, discord.Forbidden):
            return view.job.state.is_over
        except TROUBLE as exc:
            log.warning("progress of job %d not shown: %s", view.job.id, exc)
            self._is_archived = isinstance(exc, discord.HTTPException) and exc.code == ARCHIVED
            return not view.job.state.is_over or _is_final(exc)
        return True

    def _parts(self, view: JobView) -> dict[str, Any]:
        over = view.job.state.is_over
        buttons = row_of(*([] if over else [cancel_button(view.job, self._say)]))
        return {"content": progress_text(view, self._say), "view": buttons}

    async def _announce(self) -> bool:
        """Tell who asked how it ended, as a new message, for an edit notifies nobody. Whether that is settled."""
        job = self._job
        who = [discord.Object(job.user_id)] if job.user_id else []
        mentions = discord.AllowedMentions(everyone=False, roles=False, users=who)
        try:
            await self._send_announcement(allowed_mentions=mentions, nonce=f"end-{job.id}", suppress_embeds=True)
        except TROUBLE as exc:
            if not _is_final(exc):
                log.warning("job %d: not announced yet: %s", job.id, exc)
                return False
            log.warning("job %d: its channel can't be told: %s", job.id, exc)
        await self._service.registry.set_announced(job.id)
        await self._client.tell(
            job.server_id, "ended", job=job.id, name=title(job, self._say), state=self._say.state(job)
        )
        return True

    async def _send_announcement(self, **how: Any) -> None:
        parts = await self._announcement()
        try:
            await self._channel.send(**parts, **how)
        except discord.Forbidden:  # Attach Files may be what is missing
            if "file" not in parts:
                raise
            del parts["file"]
            await self._channel.send(**parts, **how)

    async def _announcement(self) -> dict[str, Any]:
        job, say = self._job, self._say
        who = f"<@{job.user_id}>" if job.user_id else ""
        facts = {"who": who, "name": title(job, say), "job": job.id}
        assert job.ended_at is not None
        late_s = (datetime.now(UTC) - job.ended_at).total_seconds()
        late = [say("train.late", ago=duration(late_s))] if late_s > LATE_S else []
        if job.state != JobState.DONE:
            key = "train.ended_failed" if job.state == JobState.FAILED else "train.ended_cancelled"
            lines = [say(key, **facts), *([literal(job.error)] if job.error else []), *late]
            return {"content": fitting(lines, ""), "view": row_of(retry_button(job, say))}
        return await self._good_news(facts, late, say)

    async def _good_news(self, facts: dict[str, object], late: list[str], say: Strings) -> dict[str, Any]:
        """The first posts, the picture of the run, and a button to have more."""
        job, library = self._job, self._service.library
        channel = self._client.get_channel(job.channel_id or 0)
        parent_id = channel.parent_id if isinstance(channel, discord.Thread) else None
        caller = Caller(server_id=job.server_id, user_id=0, channel_id=job.channel_id, parent_id=parent_id)
        model = next((m for m in library.visible(caller) if m.job_id == job.id), None)
        if model is None:  # deleted or trained again meanwhile
            ended = say("log_channel.ended", job=job.id, name=title(job, say), state=say.state(job))
            return {"content": fitting([f"{facts['who']} {ended}", *late], "")}
        lines = [say("train.ready", **facts, version=model.version, posts=model.posts), *late]
        try:
            spoken = await self._service.say(caller, model=model, count=FIRST_POSTS)
            lines += [f"> {generated(text, links=False) or '…'}" for text in spoken.texts]
        except UserError as exc:
            lines.append(literal(say.error(exc), mentions=True))
        parts: dict[str, Any] = {"content": fitting(lines, say("train.label")), "view": row_of(say_button(model, say))}
        if picture := await library.picture(model):
            parts["file"] = discord.File(io.BytesIO(picture), "training.png", description=str(model.name))
        return parts


def _is_final(error: BaseException) -> bool:
    """Whether Discord refuses for a reason that does not go away: not "too many", a reset token, its own troubles."""
    return isinstance(error, discord.HTTPException) and error.status not in (401, 429) and 400 <= error.status < 500


async def _tries() -> AsyncIterator[None]:
    """Again and again, with longer and longer pauses, until the loop is left."""
    yield
    for delay_s in itertools.chain(RETRY_DELAYS_S, itertools.repeat(RETRY_DELAYS_S[-1])):
        await asyncio.sleep(delay_s)
        yield
