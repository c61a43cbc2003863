"""Hostile inputs, the whole way that a job's go: `python -m benchmarks.fuzz [COUNT [SEED]]` (10,000 and 1).

Archives, exports and tables of every kind, and answers of X, Bluesky and Mastodon, each with something wrong: what is
wrong with input NUMBER of a SEED is always the same (`Fuzzer(fuzzed_jobs(), SEED).job(NUMBER)`). Each is profiled, its
posts collected, written and cleaned, in worker processes. Posts may come out, or an error of `models.errors` in a clean
sentence; all else is a crash, and so is what takes more than TIME_LIMIT_S or MEMORY_LIMIT. Goal: 0 crashes (exit code 1
otherwise).
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import unicodedata
from collections import Counter
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, cast

import msgspec

from benchmarks.fuzzing.corpus import FuzzedJob, file_jobs
from benchmarks.fuzzing.inputs import Fuzzer
from benchmarks.fuzzing.web import TOKEN, WEB_JOBS, FuzzedSession, QuickWeb
from models.errors import UserError
from models.records import Counts, DatasetRow, Post, Profile, SourceSettings
from trainer.clean import clean_account
from trainer.sources import open_source
from trainer.sources.base import Access
from trainer.sources.pages import Pages

TIME_LIMIT_S = 60.0  # on a busy machine; the slowest take some seconds of one core
MEMORY_LIMIT = 2 << 30  # bytes of a worker's addresses, above those of an idle one
MAX_SHOWN_CHARS = 500  # of an error
MAX_NAME_CHARS = 640  # Bluesky's, in bytes
MAX_ID_CHARS = 300
WEB_SHARE = 6  # jobs of each web source, beside one of each layout of files
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


class Unclean(Exception):
    """What comes out is not fit to be written, or shown."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How it went with one input: `kind` is "posts" or an error's name; a crash has its traceback."""

    number: int
    kind: str
    crash: str = ""
    seconds: float = 0.0
    peak_kib: int = 0


def main(count: int = 10_000, seed: int = 1) -> int:
    started = time.monotonic()
    outcomes, idle_kib = fuzz(count, seed)
    kinds = Counter(outcome.kind for outcome in outcomes)
    crashes = [outcome for outcome in outcomes if outcome.crash]
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    largest = max(outcomes, key=lambda outcome: outcome.peak_kib)
    for outcome in crashes:
        print(f"input {outcome.number} of seed {seed}: {outcome.crash}\n")
    print(f"{len(outcomes):,} inputs: " + ", ".join(f"{kind} {number:,}" for kind, number in kinds.most_common()))
    print(f"crashes: {len(crashes)}")
    print(f"slowest input: {slowest.seconds:.2f} s (input {slowest.number})")
    above_mib = (largest.peak_kib - idle_kib) / 1024
    print(f"peak memory of a worker above its idle: {above_mib:.0f} MiB (by input {largest.number})")
    print(f"{time.monotonic() - started:.0f} s")
    return 1 if crashes else 0


def fuzz(count: int, seed: int) -> tuple[list[Outcome], int]:
    """The outcomes of the inputs of a seed, in no order, and what an idle worker takes in KiB."""
    numbers = iter(range(count))
    outcomes: list[Outcome] = []
    workers = [_Worker(seed) for _ in range(max(1, os.cpu_count() or 1))]
    idle_kib = max(worker.idle_kib for worker in workers)
    try:
        busy = [worker for worker in workers if worker.begin(next(numbers, None))]
        while busy:
            ready = wait([worker.pipe for worker in busy], timeout=0.5)
            for worker in list(busy):
                if worker.pipe in ready or time.monotonic() - worker.began_at > TIME_LIMIT_S:
                    outcomes.append(worker.end())
                    if not worker.begin(next(numbers, None)):
                        busy.remove(worker)
    finally:
        for worker in workers:
            worker.stop()
    return outcomes, idle_kib


class _Worker:
    """A process that takes one input at a time; another takes its place when it dies, or hangs."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.began_at = 0.0
        self._number = 0
        self._start()

    def _start(self) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self._seed), daemon=True)
        self._process.start()
        theirs.close()
        self.idle_kib = int(self.pipe.recv())

    def begin(self, number: int | None) -> bool:
        """Start with the input of that number; False if there is none."""
        if number is None:
            return False
        self._number, self.began_at = number, time.monotonic()
        self.pipe.send(number)
        return True

    def end(self) -> Outcome:
        """How the input went that was begun."""
        if self.pipe.poll():
            try:
                return cast(Outcome, self.pipe.recv())
            except (EOFError, OSError):
                self._process.join()
                how = f"the process died with {self._process.exitcode}"
        else:
            how = f"took more than {TIME_LIMIT_S:.0f} s"
        self.stop()
        seconds = time.monotonic() - self.began_at
        self._start()
        return Outcome(number=self._number, kind="crash", crash=how, seconds=seconds)

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _work(pipe: Connection[Any, Any], seed: int) -> None:
    fuzzer = Fuzzer(fuzzed_jobs(), seed)
    with tempfile.TemporaryDirectory() as folder:
        for job in fuzzed_jobs():  # what is loaded once, is
            run_job(job, Path(folder), None)
        idle_kib = _peak_kib()
        resource.setrlimit(resource.RLIMIT_AS, (_address_bytes() + MEMORY_LIMIT,) * 2)
        pipe.send(idle_kib)
        while True:
            pipe.send(try_input(fuzzer, pipe.recv(), Path(folder)))


def fuzzed_jobs() -> list[FuzzedJob]:
    """The valid jobs that inputs are made of."""
    return [*file_jobs(), *WEB_JOBS * WEB_SHARE]


def try_input(fuzzer: Fuzzer, number: int, folder: Path) -> Outcome:
    """How it goes with the input of that number; whatever is raised."""
    started = time.monotonic()
    job = fuzzer.job(number)
    kind, crash = "posts", ""
    try:
        run_job(job, folder, random.Random(f"web:{fuzzer.seed}:{number}"))
    except UserError as exc:
        kind = type(exc).__name__
        if flaw := flaw_of(str(exc), folder):
            kind, crash = "crash", f"{job.source}: {kind} {flaw}: {str(exc)[:1000]!r}"
    except BaseException as exc:  # nothing else may come, not even out of memory or of stack
        kind, crash = "crash", f"{job.source}: {''.join(traceback.format_exception(exc)[-12:])[-3000:]}"
    return Outcome(number=number, kind=kind, crash=crash, seconds=time.monotonic() - started, peak_kib=_peak_kib())


def run_job(job: FuzzedJob, folder: Path, rng: random.Random | None) -> Counts:
    """Collect and clean as `trainer.collect` does, writing and reading what that writes.

    Without `rng` the web answers rightly. Raises what the sources raise, and Unclean.
    """
    os.environ["X_BEARER_TOKEN"] = TOKEN
    with tempfile.TemporaryDirectory(dir=folder) as run:
        profile, written = asyncio.run(_collected(job, Path(run), rng))
    decoder = msgspec.json.Decoder(Post)
    rows, counts = clean_account(map(decoder.decode, written), profile)
    for row in rows:
        msgspec.json.decode(msgspec.json.encode(row), type=DatasetRow)
    return msgspec.json.decode(msgspec.json.encode(counts), type=Counts)


async def _collected(job: FuzzedJob, run: Path, rng: random.Random | None) -> tuple[Profile, list[bytes]]:
    inputs = []
    for file in job.files:
        inputs.append(run / file.name if not (run / file.name).exists() else run / f"other-{file.name}")
        inputs[-1].write_bytes(file.packed())
    session = cast(Any, FuzzedSession(rng))
    web = QuickWeb(session, check=lambda: None, notice=lambda text: None)
    settings = SourceSettings(max_posts=100)

    async def reach() -> Access:
        return Access(web=web, pages=Pages(run / "pages"), settings=settings)

    source = await open_source(job.source, inputs, reach)
    profile = await source.profile(job.handle)
    profile = msgspec.json.decode(msgspec.json.encode(profile), type=Profile)
    if flaw := flaw_of(profile.name, run, MAX_NAME_CHARS):
        raise Unclean(f"the name {flaw}: {profile.name[:200]!r}")
    written = []
    async for post in source.posts(profile.handle):
        if (
            max(len(post.id), len(post.reply_to_id or ""), len(post.lang or ""), len(post.reply_to_handle or ""))
            > MAX_ID_CHARS
        ):
            raise Unclean(f"an id, or the like, of {post.id[:100]!r} is too long")
        written.append(msgspec.json.encode(post))
    return profile, written


def flaw_of(text: str, folder: Path, longest: int = MAX_SHOWN_CHARS) -> str:
    """What is wrong with a text; nothing if a person can be shown it."""
    if len(text) > longest:
        return f"is too long ({len(text):,} characters)"
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in BIDI for character in text):
        return "holds control characters"
    if str(folder) in text or "Traceback" in text:
        return "tells of this machine"
    return ""


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _address_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
