"""The job queue: takes queued jobs in turn, runs their stages in children, and tells whoever watches how far they are.

The registry holds each job's state and the run folder its files, so the queue survives a restart: unfinished jobs go
on from their last complete stage.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec

from bot.children import OUR_PROGRAMS, Child, run_to_end
from bot.config import Config
from bot.datadir import DataDir
from bot.placing import held_of, place_inputs, rename_into_place, take
from bot.plans import Plan, model_name, secrets_for
from bot.records import Caller, Job, JobState, JobView
from bot.registry import Registry
from bot.turns import in_turn
from bot.views import Views
from models.errors import BadModelFolder, CantRetry, ChildError, JobIsOver, UserError
from models.files import RunFolder, read_manifest, write_json
from models.messages import Cancelled, Failed, Notice, Progress, Sample
from models.records import AccountSource, Counts

log = logging.getLogger(__name__)

MODEL_ROOM_MB = 200  # a version, its checkpoints and its posts, for the built-in base
MANY = 1_000  # jobs
TROUBLE_DELAY_S = 30.0  # until a job is taken up again whose state could not be written


class JobFailed(Exception):
    """The job can't be done; `str()` is for the person who asked."""


class JobCancelled(Exception):
    """Somebody asked for the job to stop, and it has."""


class JobPaused(Exception):
    """The bot stops; the job goes on at its next start."""


class Jobs:
    """Runs as many jobs at once as the config allows. `run` is its loop; everything else may be called beside it."""

    def __init__(
        self, config: Config, data: DataDir, registry: Registry, *, program: Sequence[str] = OUR_PROGRAMS.trainer
    ) -> None:
        self._program = program
        self._config = config
        self._data = data
        self._registry = registry
        self.views = Views(registry)
        self._work = asyncio.Event()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._children: dict[int, Child] = {}
        self._draining = False
        self.on_model: Callable[[], Awaitable[None]] = _nothing  # awaited when a version has been saved
        self.on_accounts: Callable[[int, Sequence[str]], None] = _anybody  # raises if a server may not learn them

    @property
    def pids(self) -> list[int]:
        """The trainer processes that there are."""
        return [child.pid for child in self._children.values()]

    async def load(self) -> None:
        """Take up what an earlier run of the bot left unfinished; before anything else."""
        for job in await self._registry.unfinished():
            await self.views.show(JobView(job=job))
        await self._show_places()

    async def tidy(self, *, older_than: datetime) -> None:
        """Drop run folders of old failures, and from those of finished jobs what is not needed any more."""
        kept = {str(job.id) for job in await self._registry.unfinished()}
        failed = await self._registry.ended_with_files()
        kept |= {str(job.id) for job in failed if job.ended_at and job.ended_at > older_than}
        expired = {str(job.id) for job in failed} - kept
        for folder in self._data.runs.iterdir():
            if folder.name in expired:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            elif folder.name not in kept:
                await self._forget_rest(RunFolder(folder))

    async def run(self) -> None:
        """Work through the queue until cancelled. A cancelled loop leaves its jobs to be taken up at the next start."""
        try:
            while True:
                self._work.clear()
                for job in [] if self._draining else await self._in_turn():
                    if job.id not in self._tasks and len(self._tasks) < self._config.bot.parallel_trainings:
                        task = asyncio.create_task(self._do_or_wait(job), name=f"job {job.id}")
                        self._tasks[job.id] = task
                        task.add_done_callback(partial(self._leave, job.id))
                await self._work.wait()
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def drain(self) -> None:
        """Begin no more jobs, tell the running ones to write a checkpoint, and wait until their trainers are gone."""
        self._draining = True
        for child in self._children.values():
            child.interrupt()
        await self.views.pause()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=self._config.bot.stop_grace_s + 2)

    async def add(self, caller: Caller, plan: Plan) -> Job:
        """Queue a training. Its files are taken into its run folder before it counts. AlreadyTraining or DiskFull.

        One that costs money waits to be confirmed.
        """
        size_mb = sum(account.size_bytes for account in plan.accounts) >> 20
        self._data.require_room(self._config.bot.min_free_disk_mb + MODEL_ROOM_MB + size_mb)
        done = await self._registry.jobs(done=True, limit=MANY)
        held = await asyncio.to_thread(held_of, plan.accounts, [self._data.runs / str(job.id) for job in done])

        def place(job_id: int) -> None:
            place_inputs(RunFolder(self._data.runs / str(job_id)), job_id, plan, self._config, held)

        job = await self._registry.add_job(
            caller,
            model=plan.name,
            handles=plan.handles,
            digest=plan.digest,
            confirmed=plan.usd == 0,
            place_files=place,
        )
        await self._registry.add_consents(job, [account.record for account in plan.accounts])
        return await self._enqueue(job)

    async def confirm(self, job: Job) -> Job:
        """Let a job run that had to be agreed to; JobIsOver if it has ended meanwhile."""
        if job.state.is_over:
            raise JobIsOver(job.id, state=job.state)
        return await self._enqueue(await self._registry.confirm(job))

    async def retry(self, caller: Caller, job: Job) -> Job:
        """Another job that goes on with the files of one that ended without a version, from its last complete stage."""
        old = RunFolder(self._data.runs / str(job.id))
        is_failure = job.state.is_over and job.state != JobState.DONE and job.confirmed  # else it is still to be paid
        if not is_failure or not job.confirmed or not old.spec_file.exists() or not old.inputs.exists():
            raise CantRetry(job.id, state=job.state)

        def place(job_id: int) -> None:
            folder = RunFolder(self._data.runs / str(job_id))
            shutil.rmtree(folder.path, ignore_errors=True)
            shutil.copytree(old.path, folder.path, copy_function=lambda a, b: take(Path(a), Path(b)))
            write_json(folder.spec_file, msgspec.structs.replace(old.read_spec(), job_id=job_id))
            if folder.is_fitted:  # a model of the old job: its manifest says so
                shutil.rmtree(folder.model)

        again = await self._registry.add_job(
            caller, model=job.model, handles=job.handles, digest=job.digest, place_files=place
        )
        await asyncio.to_thread(shutil.rmtree, old.path, ignore_errors=True)
        accounts = RunFolder(self._data.runs / str(again.id)).read_spec().accounts
        is_same = caller.user_id == job.user_id  # what one member has proved is no proof of another's
        asked = [msgspec.structs.replace(account, is_proven=account.is_proven and is_same) for account in accounts]
        await self._registry.add_consents(again, asked)
        return await self._enqueue(again)

    async def cancel(self, job: Job) -> Job:
        """Stop a job, or take it out of the queue; JobIsOver if it has ended. Returns it as it is then."""
        if job.state.is_over:
            raise JobIsOver(job.id, state=job.state)
        job = await self._registry.request_cancel(job)
        if child := self._children.get(job.id):
            child.interrupt()
        elif job.id not in self._tasks:
            job = await self._end(job, JobState.CANCELLED)
        return job

    async def ahead_of_next(self, server_id: int) -> int:
        """How many jobs would be before another one of that server."""
        unfinished = await self._registry.unfinished()
        if not unfinished:
            return 0
        last = replace(unfinished[0], id=sys.maxsize, server_id=server_id, state=JobState.QUEUED, confirmed=True)
        return in_turn([*unfinished, last], await self._registry.last_turns()).index(last)

    # --- one job ------------------------------------------------------------------------------------------------------

    async def _do_or_wait(self, job: Job) -> None:
        try:
            await self._do(job)
        except Exception:  # the registry or the disk: nothing can be written down now
            log.exception("job %d can't go on; trying again in %.0f s", job.id, TROUBLE_DELAY_S)
            await asyncio.sleep(TROUBLE_DELAY_S)

    async def _do(self, job: Job) -> None:
        """Take the job to its end. Only a bot that stops leaves it unfinished."""
        folder = RunFolder(self._data.runs / str(job.id))
        try:
            if job.cancel_requested:
                raise JobCancelled
            if job.state == JobState.QUEUED:
                job = await self._move(job, JobState.COLLECTING)
                await self._show_places()
            if job.state == JobState.COLLECTING:
                await self._stage(job, "collect", folder)
                job = await self._name(job, folder)
                job = await self._move(job, JobState.FITTING)
            if job.state == JobState.FITTING:
                await self._stage(job, "fit", folder)
            await self._save(await self._registry.job(job.id), folder)
        except JobPaused:
            log.info("job %d paused", job.id)
        except JobCancelled:
            await self._end(job, JobState.CANCELLED)
        except (UserError, JobFailed) as exc:
            log.warning("job %d failed (%s); /jobs says why", job.id, type(exc).__name__)  # the text names accounts
            await self._end(job, JobState.FAILED, error=str(exc))
        except Exception:
            log.exception("job %d failed", job.id)
            error = f"Something went wrong on my side. The operator finds it in the log under job {job.id}."
            await self._end(job, JobState.FAILED, error=error)

    async def _stage(self, job: Job, stage: str, folder: RunFolder) -> None:
        """Run a stage in a child; a child that dies is followed by another, which goes on from what is there."""
        if not folder.spec_file.exists():
            raise JobFailed("Its files are gone from the data directory. Start the training again.")
        arguments = [*self._program, stage, str(folder.path)]
        secrets = secrets_for(stage, folder.read_spec())
        while True:
            self._data.require_room(self._config.bot.min_free_disk_mb)
            try:
                child = await Child.spawn(stage, arguments, grace_s=self._config.bot.stop_grace_s, secrets=secrets)
                self._children[job.id] = child
                if self._draining:
                    child.interrupt()
                if (await self._registry.job(job.id)).cancel_requested:  # asked for while it was starting
                    child.interrupt()
                await self._hear(job, child)
                return
            except ChildError as exc:
                if self._draining:
                    raise JobPaused from exc
                job = await self._registry.count_breakdown(job)
                log.error("job %d, breakdown %d: %s", job.id, job.breakdowns, exc)
                if job.cancel_requested:
                    raise JobCancelled from exc
                if job.breakdowns >= self._config.training.max_breakdowns:
                    raise JobFailed(
                        f"The trainer broke down {job.breakdowns} times (it {exc.what}). "
                        f"The operator finds more in the log under job {job.id}."
                    ) from exc
                await self.views.note(job, f"the trainer {exc.what}; another one goes on from the last checkpoint")
            finally:
                self._children.pop(job.id, None)

    async def _hear(self, job: Job, child: Child) -> None:
        """Follow a stage to its last word; JobFailed or JobCancelled if that is not `done`."""
        timeout_s = self._config.training.silence_timeout_s
        async with aclosing(run_to_end(child, silence_timeout_s=timeout_s)) as messages:
            async for message in messages:
                view = self.views.of(job)
                match message:
                    case Progress():
                        figures = msgspec.structs.asdict(message)
                        kept = {k: v for k, v in figures.items() if v is not None or k in ("total", "eta_s")}
                        await self.views.show(replace(view, job=job, **kept))
                    case Sample(text=text):
                        await self.views.show(replace(view, sample=text))
                    case Notice(text=text):
                        await self.views.note(job, text)
                    case Failed(text=text, is_user_error=True):
                        raise JobFailed(text)
                    case Failed(kind=kind, text=text):
                        log.error("job %d: %s: %s\n%s", job.id, kind, text, child.stderr)
                        raise JobFailed(
                            f"The training failed ({kind}). The operator finds more in the log under job {job.id}."
                        )
                    case Cancelled():
                        is_asked = (await self._registry.job(job.id)).cancel_requested
                        raise JobCancelled if is_asked or not self._draining else JobPaused

    async def _name(self, job: Job, folder: RunFolder) -> Job:
        """Give the job the accounts that its posts turned out to be of, and its model a name."""
        counts = folder.read_stats().accounts
        handles = [account.handle for account in counts]
        self.on_accounts(job.server_id, handles)
        name = job.model or await self._registry.name_of(job.server_id, handles) or model_name(handles)
        await self._registry.require_name(job.server_id, name, handles)
        job = await self._registry.name_job(job, name, handles)
        spec = folder.read_spec()
        await self._registry.add_consents(job, _as_learned(spec.accounts, counts))
        if spec.model != name:
            write_json(folder.spec_file, msgspec.structs.replace(spec, model=name))
        return job

    async def _save(self, job: Job, folder: RunFolder) -> None:
        """Move the finished model into its place by one rename, and enter it. Safe to do again after a crash."""
        job, place = await self._registry.begin_saving(job)
        target = self._data.models / place
        try:
            manifest = read_manifest(target)
            if manifest.job_id != job.id:
                raise BadModelFolder(target, f"it is of job {manifest.job_id}")
        except BadModelFolder:
            manifest = read_manifest(folder.model)
            await asyncio.to_thread(rename_into_place, folder.model, target)
        metrics = manifest.metrics
        job = await self._registry.finish(job, place, posts=metrics.posts, bits_per_byte=metrics.bits_per_byte_after)
        log.info("job %d done: version %d of its model", job.id, job.version)
        await self.on_model()
        await self._forget_rest(folder)
        await self.views.end(job)

    async def _forget_rest(self, folder: RunFolder) -> None:
        """Drop what nobody needs any more of a job that is done."""
        await asyncio.to_thread(folder.forget_bulk)
        if not self._config.sources.keep_posts:
            await asyncio.to_thread(folder.forget_posts)

    async def _end(self, job: Job, state: JobState, *, error: str | None = None) -> Job:
        """End the job without a version. Its files stay for a while, so that it can be retried."""
        current = await self._registry.job(job.id)
        if not current.state.is_over:
            current = await self._registry.move(current, state, error=error)
        await self.views.end(current)
        await self._show_places()
        return current

    # --- the queue ----------------------------------------------------------------------------------------------------

    async def _in_turn(self) -> list[Job]:
        return in_turn(await self._registry.unfinished(), await self._registry.last_turns())

    async def _enqueue(self, job: Job) -> Job:
        await self.views.show(JobView(job=job))
        await self._show_places()
        self._work.set()
        return job

    def _leave(self, job_id: int, task: asyncio.Task[None]) -> None:
        del self._tasks[job_id]
        self._work.set()

    # --- who watches --------------------------------------------------------------------------------------------------

    async def _move(self, job: Job, state: JobState) -> Job:
        job = await self._registry.move(job, state)
        await self.views.show(replace(self.views.of(job), job=job, position=0))
        return job

    async def _show_places(self) -> None:
        await self.views.show_places(job for job in await self._in_turn() if job.state == JobState.QUEUED)


def _as_learned(accounts: Sequence[AccountSource], counts: Sequence[Counts]) -> list[AccountSource]:
    """The asked-for accounts under the handles that they turned out to have.

    A file may have told it, and platforms know accounts by more handles than one.
    """
    rest = list(accounts)
    learned = []
    for count in sorted(counts, key=lambda count: all(not _is_called(account, count.handle) for account in accounts)):
        account = next((a for a in rest if _is_called(a, count.handle)), None) or next(
            (a for a in rest if a.source == count.source), rest[0]
        )
        rest.remove(account)
        learned.append(msgspec.structs.replace(account, handle=count.handle))
    return learned


def _is_called(account: AccountSource, handle: str) -> bool:
    return account.handle is not None and account.handle.lower() == handle.lower()


async def _nothing() -> None:
    pass


def _anybody(server_id: int, handles: Sequence[str]) -> None:
    pass
