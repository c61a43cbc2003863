"""Hostile inputs made of valid ones, by a seed and a number."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.fuzzing.archives import NAMES, bomb, broken_archive
from benchmarks.fuzzing.corpus import FuzzedFile, FuzzedJob
from benchmarks.fuzzing.damage import broken_bytes, damaged
from benchmarks.fuzzing.texts import RARELY

_HANDLES = ("wren", "@Wren", "jay", "robin", "robin@toots.test", "ﬁ", "x" * 100, None)


class Fuzzer:
    """`Fuzzer(jobs, seed).job(number)`: of one seed and number always the same."""

    def __init__(self, jobs: Sequence[FuzzedJob], seed: int) -> None:
        self._jobs = jobs
        self.seed = seed

    def job(self, number: int) -> FuzzedJob:
        """One of the jobs, with one to four things wrong."""
        rng = random.Random(f"{self.seed}:{number}")
        job = rng.choice(self._jobs)
        if rng.random() < 0.1:
            job = replace(job, handle=rng.choice(_HANDLES))
        if not job.files:
            return job
        files = list(job.files)
        if rng.random() < 0.03:
            other = rng.choice([other for other in self._jobs if other.files])
            files.append(rng.choice(other.files))
        at = rng.randrange(len(files))
        for _ in range(rng.choice((1, 1, 2, 4))):
            files[at] = self._damaged(rng, files[at])
        packed = files[at].packed()
        if files[at].packing != "none" and rng.random() < 0.4:
            packed = broken_archive(rng, packed)
        elif rng.random() < 0.1:
            packed = broken_bytes(rng, packed)
        if rng.randrange(RARELY) == 0:
            packed = bomb(rng)
        name = files[at].name
        files[at] = FuzzedFile(name=name, members=((name, packed),))
        return replace(job, files=tuple(files))

    def _damaged(self, rng: random.Random, file: FuzzedFile) -> FuzzedFile:
        members = list(file.members)
        at = rng.randrange(len(members))
        name, data = members[at]
        if file.packing != "none" and rng.random() < 0.2:
            name = rng.choice(NAMES).format(name)
            members[at] = (name[:60_000], data)
            if rng.random() < 0.3:
                members.append(file.members[at])
            return replace(file, members=tuple(members))
        members[at] = (name, damaged(rng, data))
        return replace(file, members=tuple(members))
