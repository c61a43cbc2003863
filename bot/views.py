"""How far each job is, for whoever watches: the latest view of each, and a word when it changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace

from bot.records import Job, JobView
from bot.registry import Registry


class Views:
    """The views of the jobs that are not over."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._latest: dict[int, JobView] = {}
        self._changed = asyncio.Condition()

    def of(self, job: Job) -> JobView:
        """The latest view of a job."""
        return self._latest.get(job.id, JobView(job=job))

    async def show(self, view: JobView) -> None:
        """A job is as far as that now."""
        async with self._changed:
            self._latest[view.job.id] = view
            self._changed.notify_all()

    async def note(self, job: Job, text: str) -> None:
        """Something that who asked should know."""
        view = self.of(job)
        await self.show(replace(view, notices=(*view.notices, text)))

    async def refresh(self, job: Job) -> None:
        """Show a change of the job that was made in the registry only; nothing for one that is over."""
        if view := self._latest.get(job.id):
            await self.show(replace(view, job=job))

    async def pause(self) -> None:
        """The bot stops; the jobs go on when it is back."""
        async with self._changed:
            self._latest = {job_id: replace(view, paused=True) for job_id, view in self._latest.items()}
            self._changed.notify_all()

    async def end(self, job: Job) -> None:
        """The job is over: who watches it learns how from the registry."""
        async with self._changed:
            self._latest.pop(job.id, None)
            self._changed.notify_all()

    async def show_places(self, waiting: Iterable[Job]) -> None:
        """Show the places in the queue of the waiting jobs, in their order."""
        for place, job in enumerate(waiting, start=1):
            view = self.of(job)
            if view.position != place:
                await self.show(replace(view, position=place))

    async def watch(self, job_id: int) -> AsyncGenerator[JobView]:
        """The job as it is, and each time it has changed, up to its end. A slow watcher sees only the latest."""
        shown: JobView | None = None
        while True:
            async with self._changed:
                while (latest := self._latest.get(job_id)) is shown and latest is not None:
                    await self._changed.wait()
            if latest is None:
                yield JobView(job=await self._registry.job(job_id))
                return
            shown = latest
            yield latest
