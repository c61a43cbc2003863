"""Forgetting: an account with all that was learned from it, and what is held about a member."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from bot.plans import checked_handle
from bot.records import CONSOLE, HOUSE, Caller, Job
from models.errors import JobIsOver
from models.files import RunFolder

if TYPE_CHECKING:
    from bot.service import Service

ALL = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What was forgotten of an account."""

    number: str
    handle: str
    at: datetime
    everywhere: bool  # in all servers, or in the caller's
    models: tuple[str, ...]  # with their versions, as "name v1, v2"
    runs: int  # folders with collected posts
    jobs: int  # records that named the account
    cancelled: int  # trainings that were under way
    freed_bytes: int
    is_blocked: bool


async def forget(service: Service, caller: Caller, handle: str, *, block: bool) -> Receipt:
    """Remove an account's posts, runs, models and records.

    For who manages the server that is there; at the console, and for who proves that the account is their own, it is
    everywhere, and the block is. Models of several accounts go as well: what they learned from one can't be taken out.
    NotProven, SourceError or CantProve for who does not manage the server and has not proved that.
    """
    wanted = checked_handle(handle).lower()
    names = {wanted}
    registry, library, data = service.registry, service.library, service.data
    scope = caller.server_id
    if not caller.may_manage:
        names.add((await service.owners.require_owner(caller, handle)).lower())  # another, if that was an alias
        scope = HOUSE
    server_id = None if scope == HOUSE else scope
    if block:
        for name in names:
            await registry.block(scope, name)
        await service.permits.load()
    jobs = [j for j in await registry.jobs(server_id=server_id, limit=ALL) if await _is_about(service, j, names)]
    cancelled = await _cancel(service, [job for job in jobs if not job.state.is_over])
    freed, gone = 0, []
    for model in [*await registry.models(), *await registry.models(deleted=True)]:
        if names & set(model.handles) and server_id in (None, model.server_id):
            versions = await library.versions(model)
            gone.append(f"{model.name} {', '.join(f'v{v.version}' for v in versions)}")
            freed += await library.drop(model)
    runs = 0
    for job in jobs:
        folder = data.runs / str(job.id)
        if folder.exists():
            runs += 1
            freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        await registry.scrub_job(job.id)
    await registry.compact()
    return Receipt(
        number=secrets.token_hex(4).upper(),
        handle=wanted,
        at=datetime.now(UTC),
        everywhere=server_id is None,
        models=tuple(gone),
        runs=runs,
        jobs=len(jobs),
        cancelled=cancelled,
        freed_bytes=freed,
        is_blocked=service.permits.is_blocked(scope, wanted),
    )


async def data_about(service: Service, user_id: int) -> tuple[bytes, int]:
    """All that is held about a member, as indented JSON, and how many records that are."""
    jobs = await service.registry.jobs(user_id=user_id, limit=ALL)
    held = {
        "user_id": str(user_id),
        "trainings": [
            {
                "job": job.id,
                "server_id": str(job.server_id),
                "channel_id": str(job.channel_id) if job.channel_id else None,
                "message_id": str(job.message_id) if job.message_id else None,
                "accounts": job.handles,
                "model": job.model,
                "state": job.state.value,
                "asked_at": job.created_at,
                "ended_at": job.ended_at,
            }
            for job in jobs
        ],
        "grounds": [
            {
                "job": consent.job_id,
                "account": consent.handle,
                "source": consent.source,
                "ground": consent.ground,
                "proven": consent.is_proven,
                "asked_at": consent.asked_at,
            }
            for consent in await service.registry.consents(user_id=user_id)
        ],
        "not_kept": "Prompts, mentions and answers are not kept: they are on Discord only.",
    }
    return msgspec.json.format(msgspec.json.encode(held), indent=2), len(jobs)


async def forget_member(service: Service, user_id: int) -> int:
    """Cancel a member's trainings that are under way and forget who asked for any; returns how many records."""
    await _cancel(service, await service.registry.jobs(user_id=user_id, active=True, limit=ALL))
    changed = await service.registry.disown_jobs(user_id)
    await service.registry.compact()
    return changed


async def _is_about(service: Service, job: Job, names: set[str]) -> bool:
    """Whether a job learned, or was to learn, from the account: by its record, its spec or its counts."""
    if names & {h.lower() for h in job.handles}:
        return True
    folder = RunFolder(service.data.runs / str(job.id))

    def named() -> set[str]:
        found: set[str] = set()
        if folder.spec_file.exists():
            found |= {a.handle.lower() for a in folder.read_spec().accounts if a.handle}
        if folder.stats_file.exists():
            found |= {a.handle.lower() for a in folder.read_stats().accounts}
        return found

    return bool(names & await asyncio.to_thread(named))


async def _cancel(service: Service, jobs: Sequence[Job]) -> int:
    """Cancel the jobs and wait until they are over; returns how many there were."""
    for job in jobs:
        try:
            await service.cancel(CONSOLE, job.id)
        except JobIsOver:
            continue
        async with aclosing(service.watch(job.id)) as views:
            async for _ in views:
                pass
    return len(jobs)
