"""The job queue: takes queued jobs in order, runs their stages in children, and tells whoever watches how far they are.

The registry holds each job's state and the run folder its files, so the queue survives a restart: unfinished jobs go
on from their last complete stage.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import msgspec

from bot.children import Child, run_to_end
from bot.config import Config
from bot.datadir import DataDir
from bot.records import Caller, Job, JobState, JobView
from bot.registry import Registry
from models.errors import BadModelFolder, ChildError, JobIsOver, QueueFull, UserError
from models.files import RunFolder, read_manifest, sync_folder, write_json
from models.messages import Cancelled, Failed, Notice, Progress, Sample
from models.records import AccountSource, RunSpec

log = logging.getLogger(__name__)

MODEL_ROOM_MB = 200  # a version, its checkpoints and its posts, for the built-in base


class JobFailed(Exception):
    """The job can't be done; `str()` is for the person who asked."""


class JobCancelled(Exception):
    """Somebody asked for the job to stop, and it has."""


class Jobs:
    """Runs one job at a time. `run` is its loop; everything else may be called beside it."""

    def __init__(self, config: Config, data: DataDir, registry: Registry) -> None:
        self._config = config
        self._data = data
        self._registry = registry
        self._views: dict[int, JobView] = {}  # of the jobs that are not over
        self._changed = asyncio.Condition()
        self._work = asyncio.Event()
        self._running: tuple[int, Child] | None = None
        self.on_model: Callable[[], Awaitable[None]] = _nothing  # awaited when a version has been saved

    @property
    def running_pid(self) -> int | None:
        """The trainer process, while there is one."""
        return self._running[1].pid if self._running else None

    async def load(self) -> None:
        """Take up what an earlier run of the bot left unfinished; before anything else."""
        unfinished = await self._registry.unfinished()
        self._views = {job.id: JobView(job=job) for job in unfinished}
        await self._publish_positions()
        for folder in self._data.runs.iterdir():  # what a crash at the end of a job left
            if folder.name not in {str(job.id) for job in unfinished}:
                await asyncio.to_thread(RunFolder(folder).forget_bulk)

    async def run(self) -> None:
        """Work through the queue until cancelled. A cancelled loop leaves its job to be taken up at the next start."""
        while True:
            unfinished = await self._registry.unfinished()
            if not unfinished:
                self._work.clear()
                await self._work.wait()
                continue
            await self._do(unfinished[0])

    async def add(
        self,
        caller: Caller,
        *,
        model: str | None,
        handles: Sequence[str],
        accounts: Sequence[tuple[AccountSource, Sequence[Path]]],
    ) -> Job:
        """Queue a training. The files are taken into its run folder before it counts.

        AlreadyTraining, QueueFull or DiskFull if it can't be taken.
        """
        if len(await self._registry.unfinished()) >= self._config.bot.max_waiting_jobs:
            raise QueueFull(self._config.bot.max_waiting_jobs)
        size_mb = sum(path.stat().st_size for _, paths in accounts for path in paths) >> 20
        self._data.require_room(self._config.bot.min_free_disk_mb + MODEL_ROOM_MB + size_mb)

        def place(job_id: int) -> None:
            folder = RunFolder(self._data.runs / str(job_id))
            shutil.rmtree(folder.path, ignore_errors=True)  # of a number that a crash gave back
            folder.inputs.mkdir(parents=True)
            sources = []
            for number, (account, paths) in enumerate(accounts):
                (folder.inputs / str(number)).mkdir()
                for path in paths:
                    _take(path, folder.inputs / str(number) / path.name)
                names = tuple(f"{number}/{path.name}" for path in paths)
                sources.append(msgspec.structs.replace(account, inputs=names))
            spec = RunSpec(job_id=job_id, model=model or "", accounts=tuple(sources), training=self._config.training)
            write_json(folder.spec_file, spec)

        job = await self._registry.add_job(caller, model=model, handles=handles, place_files=place)
        await self._publish(JobView(job=job))
        await self._publish_positions()
        self._work.set()
        return job

    async def cancel(self, job: Job) -> Job:
        """Stop a job, or take it out of the queue; JobIsOver if it has ended. Returns it as it is then."""
        if job.state.is_over:
            raise JobIsOver(job.id, state=job.state)
        job = await self._registry.request_cancel(job)
        if self._running and self._running[0] == job.id:
            self._running[1].interrupt()
        elif job.state == JobState.QUEUED:
            await self._end(job, JobState.CANCELLED)
        return job

    async def refresh(self, job: Job) -> None:
        """Show a change of the job that was made in the registry only."""
        if view := self._views.get(job.id):
            await self._publish(replace(view, job=job))

    async def watch(self, job_id: int) -> AsyncGenerator[JobView]:
        """The job as it is, and each time it has changed, up to its end. A slow watcher sees only the latest."""
        shown: JobView | None = None
        while True:
            async with self._changed:
                while (latest := self._views.get(job_id)) is shown and latest is not None:
                    await self._changed.wait()
            if latest is None:
                yield JobView(job=await self._registry.job(job_id))
                return
            shown = latest
            yield latest

    # --- one job ------------------------------------------------------------------------------------------------------

    async def _do(self, job: Job) -> None:
        """Take the job to its end. Only a cancelled loop leaves it unfinished."""
        folder = RunFolder(self._data.runs / str(job.id))
        try:
            if job.cancel_requested:
                raise JobCancelled
            if job.state == JobState.QUEUED:
                job = await self._move(job, JobState.COLLECTING)
                await self._publish_positions()
            if job.state == JobState.COLLECTING:
                await self._stage(job, "collect", folder)
                job = await self._name(job, folder)
                job = await self._move(job, JobState.FITTING)
            if job.state == JobState.FITTING:
                await self._stage(job, "fit", folder)
            await self._save(await self._registry.job(job.id), folder)
        except JobCancelled:
            await self._end(job, JobState.CANCELLED)
        except (UserError, JobFailed) as exc:
            log.warning("job %d failed: %s", job.id, exc)
            await self._end(job, JobState.FAILED, error=str(exc))
        except Exception:
            log.exception("job %d failed", job.id)
            error = f"Something went wrong on my side. The operator finds it in the log under job {job.id}."
            await self._end(job, JobState.FAILED, error=error)

    async def _stage(self, job: Job, stage: str, folder: RunFolder) -> None:
        """Run a stage in a child; a child that dies is followed by another, which goes on from what is there."""
        if not folder.spec_file.exists():
            raise JobFailed("Its files are gone from the data directory. Start the training again.")
        arguments = ["-m", "trainer", stage, str(folder.path)]
        while True:
            self._data.require_room(self._config.bot.min_free_disk_mb)
            try:
                child = await Child.spawn(stage, arguments, grace_s=self._config.bot.stop_grace_s)
                self._running = (job.id, child)
                if (await self._registry.job(job.id)).cancel_requested:  # asked for while it was starting
                    child.interrupt()
                await self._hear(job, child)
                return
            except ChildError as exc:
                job = await self._registry.count_breakdown(job)
                log.error("job %d, breakdown %d: %s", job.id, job.breakdowns, exc)
                if job.cancel_requested:
                    raise JobCancelled from exc
                if job.breakdowns >= self._config.training.max_breakdowns:
                    raise JobFailed(
                        f"The trainer broke down {job.breakdowns} times (it {exc.what}). "
                        f"The operator finds more in the log under job {job.id}."
                    ) from exc
                await self._note(job.id, f"the trainer {exc.what}; another one goes on from the last checkpoint")
            finally:
                self._running = None

    async def _hear(self, job: Job, child: Child) -> None:
        """Follow a stage to its last word; JobFailed or JobCancelled if that is not `done`."""
        timeout_s = self._config.training.silence_timeout_s
        async with aclosing(run_to_end(child, silence_timeout_s=timeout_s)) as messages:
            async for message in messages:
                view = self._views[job.id]
                match message:
                    case Progress():
                        figures = msgspec.structs.asdict(message)
                        kept = {k: v for k, v in figures.items() if v is not None or k in ("total", "eta_s")}
                        await self._publish(replace(view, job=job, **kept))
                    case Sample(text=text):
                        await self._publish(replace(view, sample=text))
                    case Notice(text=text):
                        await self._note(job.id, text)
                    case Failed(text=text, is_user_error=True):
                        raise JobFailed(text)
                    case Failed(kind=kind, text=text):
                        log.error("job %d: %s: %s\n%s", job.id, kind, text, child.stderr)
                        raise JobFailed(
                            f"The training failed ({kind}). The operator finds more in the log under job {job.id}."
                        )
                    case Cancelled():
                        raise JobCancelled

    async def _name(self, job: Job, folder: RunFolder) -> Job:
        """Give the job the accounts that its posts turned out to be of, and its model a name."""
        handles = [account.handle for account in folder.read_stats().accounts]
        name = job.model or model_name(handles)
        await self._registry.require_name(job.server_id, name, handles)
        job = await self._registry.name_job(job, name, handles)
        spec = folder.read_spec()
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
            await asyncio.to_thread(_rename_into_place, folder.model, target)
        metrics = manifest.metrics
        job = await self._registry.finish(job, place, posts=metrics.posts, bits_per_byte=metrics.bits_per_byte_after)
        log.info("job %d done: %s version %d", job.id, job.model, job.version)
        await self.on_model()
        await asyncio.to_thread(folder.forget_bulk)
        await self._forget_view(job)

    async def _end(self, job: Job, state: JobState, *, error: str | None = None) -> None:
        current = await self._registry.job(job.id)
        if not current.state.is_over:
            current = await self._registry.move(current, state, error=error)
        await asyncio.to_thread(RunFolder(self._data.runs / str(job.id)).forget_bulk)
        await self._forget_view(current)
        await self._publish_positions()

    # --- who watches --------------------------------------------------------------------------------------------------

    async def _move(self, job: Job, state: JobState) -> Job:
        job = await self._registry.move(job, state)
        await self._publish(replace(self._views.get(job.id, JobView(job=job)), job=job, position=0))
        return job

    async def _note(self, job_id: int, text: str) -> None:
        view = self._views[job_id]
        await self._publish(replace(view, notices=(*view.notices, text)))

    async def _publish(self, view: JobView) -> None:
        async with self._changed:
            self._views[view.job.id] = view
            self._changed.notify_all()

    async def _forget_view(self, job: Job) -> None:
        async with self._changed:
            self._views.pop(job.id, None)
            self._changed.notify_all()

    async def _publish_positions(self) -> None:
        queued = [job for job in await self._registry.unfinished() if job.state == JobState.QUEUED]
        for place, job in enumerate(queued, start=1):
            view = self._views.get(job.id, JobView(job=job))
            if view.position != place:
                await self._publish(replace(view, position=place))


async def _nothing() -> None:
    pass


def model_name(handles: Sequence[str]) -> str:
    """The name of a model that was given none: its handles, lower case, sorted, joined by hyphens."""
    return "-".join(sorted(handle.lower() for handle in handles))


def _take(source: Path, target: Path) -> None:
    """Have the file in the run folder: a hard link where that can be, for archives are large; else a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _rename_into_place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        shutil.rmtree(target)  # it has no valid manifest of this job: what an interrupted copy left
    source.rename(target)
    sync_folder(target.parent)
