"""What trainers see: the plan before, the buttons during, the lists after."""

from __future__ import annotations

from typing import Any

import discord

from bot.discord_front.access import admitted, caller_of
from bot.discord_front.components import Component, button, client_of, row_of, service_of
from bot.discord_front.render import MAX_EMBED_CHARS, body, fitting, literal, title, when
from bot.discord_front.respond import acknowledge, answer, privately, replace, think
from bot.plans import Plan, PlannedAccount
from bot.progress import size
from bot.records import Caller, Job
from bot.strings import Strings
from models.errors import CantPost

JOBS_A_PAGE = 10
MAX_ERROR_CHARS = 80  # a page with the worst of names and errors, each character escaped, fits in an embed


def plan_text(plan: Plan, say: Strings, *, end: str = "") -> str:
    """What will be collected, from where, what it costs, what it replaces, and when its turn comes."""
    lines = [say("train.heading", name=literal(plan.name)) if plan.name else say("train.heading_unnamed")]
    lines += [_account_line(account, plan, say) for account in plan.accounts]
    if len(plan.accounts) > 1:
        lines.append(say("train.mixed"))
    lines += [
        say("train.ground", ground=say(f"choice.ground.{ground}"))
        for ground in dict.fromkeys(account.ground for account in plan.accounts)
    ]
    lines.append(say("train.costs", usd=plan.usd) if plan.usd else say("train.free"))
    if plan.follows:
        current = plan.follows
        lines.append(
            say("train.follows", version=current.version + 1, current=current.version, when=when(current.created_at))
        )
    lines.append(say("train.ahead", ahead=plan.ahead) if plan.ahead else say("train.next"))
    return fitting(lines, end)


def _account_line(account: PlannedAccount, plan: Plan, say: Strings) -> str:
    facts = {
        "account": f"@\u200b{literal(account.handle)}" if account.handle else say("train.unknown_account"),
        "source": say(f"choice.source.{account.source}"),
    }
    if account.is_fetched:
        return say("train.fetched", **facts, posts=plan.max_posts)
    files = ", ".join(literal(path.name) for path in account.files)
    return say("train.account", **facts, files=files, size=size(account.size_bytes))


async def begin(interaction: discord.Interaction[Any], caller: Caller, plan: Plan) -> None:
    """Queue the plan and show it: with a link to its progress, or where it costs money with a button to agree."""
    service, say = service_of(interaction), privately(interaction)
    require_writable(interaction)
    job = await service.start(caller, plan)
    if plan.usd:
        agree = Confirm(button(say("train.confirm"), f"confirm:{job.id}", discord.ButtonStyle.success))
        await answer(interaction, plan_text(plan, say), view=row_of(agree, cancel_button(job, say)))
        return
    link = await client_of(interaction).show_progress(job)
    await answer(interaction, plan_text(plan, say, end=say("train.progress", job=job.id, link=link)))
    await _tell_of(interaction, job)


async def _tell_of(interaction: discord.Interaction[Any], job: Job) -> None:
    """Tell the log channel that a training was started."""
    client = client_of(interaction)
    name = title(job, client.language_of(job.server_id))
    await client.tell(job.server_id, "training", who=f"<@{interaction.user.id}>", job=job.id, name=name)


def require_writable(interaction: discord.Interaction[Any]) -> None:
    """CantPost if the bot can't show progress in the channel."""
    allowed = interaction.app_permissions
    is_thread = isinstance(interaction.channel, discord.Thread)
    if not allowed.view_channel:
        raise CantPost("View Channel")
    if not (allowed.send_messages_in_threads if is_thread else allowed.send_messages):
        raise CantPost("Send Messages in Threads" if is_thread else "Send Messages")


def cancel_button(job: Job, say: Strings) -> Component:
    return Cancel(button(say("train.cancel"), f"cancel:{job.id}"))


def retry_button(job: Job, say: Strings) -> Component:
    return Retry(button(say("train.retry"), f"retry:{job.id}", emoji="🔁"))


async def cancel_job(interaction: discord.Interaction[Any], job_id: int) -> None:
    """Cancel for who asked, and for admins."""
    await think(interaction)
    caller = await admitted(interaction, "jobs")
    job = await service_of(interaction).cancel(caller, job_id)
    await answer(interaction, privately(interaction)("train.cancelled", job=job_id))
    if job.user_id != caller.user_id:
        await client_of(interaction).tell(caller.server_id, "cancelled", who=f"<@{caller.user_id}>", job=job_id)


async def retry_job(interaction: discord.Interaction[Any], job_id: int) -> None:
    """Go on with a failed or cancelled job, as a new one."""
    await think(interaction)
    require_writable(interaction)
    job = await service_of(interaction).retry(await admitted(interaction, "train"), job_id)
    link = await client_of(interaction).show_progress(job)
    await answer(interaction, privately(interaction)("train.retried", job=job.id, link=link))
    await _tell_of(interaction, job)


async def jobs_page(interaction: discord.Interaction[Any], page: int = 0) -> dict[str, Any]:
    """The parts of a message with a page of the latest jobs."""
    service, say, caller = service_of(interaction), privately(interaction), caller_of(interaction)
    jobs = await service.jobs(caller, limit=JOBS_A_PAGE + 1, skip=page * JOBS_A_PAGE)
    lines = [
        say("jobs.line", job=job.id, name=title(job, say), state=say.state(job), when=when(job.created_at))
        + (f" · {literal(job.error[:MAX_ERROR_CHARS])}" if job.error else "")
        for job in jobs[:JOBS_A_PAGE]
    ]
    items: list[Component] = []
    if page:
        items.append(JobsPage(button(say("models.back"), f"jobs:{page - 1}")))
    if len(jobs) > JOBS_A_PAGE:
        items.append(JobsPage(button(say("models.next"), f"jobs:{page + 1}")))
    text = fitting(lines or [say("jobs.none")], "", most=MAX_EMBED_CHARS)
    return {**body(text), "suppress_embeds": False, "view": row_of(*items)}


class Cancel(Component, template=r"cancel:(?P<job>\d+)"):
    """Cancels a job."""

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        await cancel_job(interaction, int(self.values["job"]))


class Retry(Component, template=r"retry:(?P<job>\d+)"):
    """Tries a job again."""

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        await retry_job(interaction, int(self.values["job"]))


class Confirm(Component, template=r"confirm:(?P<job>\d+)"):
    """Agrees to what a job costs."""

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        await acknowledge(interaction, interaction.response.defer)
        job = await service_of(interaction).confirm(caller_of(interaction), int(self.values["job"]))
        link = await client_of(interaction).show_progress(job)
        text = privately(interaction)("train.confirmed", job=job.id, link=link)
        await replace(interaction, {"content": text})
        await _tell_of(interaction, job)


class JobsPage(Component, template=r"jobs:(?P<page>\d+)"):
    """Turns the pages of /jobs list."""

    async def press(self, interaction: discord.Interaction[Any]) -> None:
        await acknowledge(interaction, interaction.response.defer)
        await replace(interaction, await jobs_page(interaction, int(self.values["page"])))
