"""A long day with accidents: `python -m benchmarks.discord_soak [--count 10000] [--rate 40] [--seed 1]`.

The real bot process, on a tiny base, answers a crowd on the tests' stand-in for Discord while requests fail (429 with
and without Via, 500, 502, 503, connections that are cut before or after the deed, slow answers), the gateway is cut,
asks to reconnect (op 7) and forgets its session (op 9), interaction tokens die, attachments vanish, the engine and
trainers are killed, and the bot itself is killed and started again; trainings run, are cancelled and retried. Then
there is quiet, and these claims are checked:

- Every interaction is acknowledged within 3 s, and answered within 60 s. Excused, and counted, is one that waited for
  it, and not yet too long, when the bot was killed or its token died; one not yet acknowledged that was made while the
  gateway was away, or less than 3 s before; one whose callback was refused by Cloudflare, and an autocomplete whose
  callback was cut, which nobody repeats; one whose callback or answer was struck by several faults. A single 429, 5xx,
  cut connection or slow answer excuses nobody else.
- Each job has one progress message, which says the state that the registry has, and was not edited after that.
- Each job that ended was announced once.
- The bot asks for no route and breaks no limit that Discord does not have, acknowledges nothing twice, and ends only
  when it is told to. No child outlives it.

Prints counts as a table; exits with 1 if a claim fails.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import re
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.discord_crowd import Crowd, figure, is_answered, tops
from benchmarks.discord_faults import FINAL, GATEWAY, KILLED, TOKEN_DIED, FaultyDiscord, edits_after_the_end, state_in
from benchmarks.discord_house import Bot, furnish, machine, table, write_config, write_tiny_base
from bot.config import BotSettings, Config, DiscordSettings, LimitSettings
from models.engine.settings import EngineSettings
from models.records import TrainingSettings
from tests.conftest import made_up_posts
from tests.fakes.discord_payloads import MANAGE_GUILD, Json

WEIGHTS = {
    **{"autocomplete": 20, "help": 8, "page": 12, "models": 8, "status": 8, "jobs": 8, "why": 8, "mydata": 3},
    **{"say": 12, "again": 6, "delete": 4, "info": 3, "cancel": 0.4, "retry": 0.6},
}
EVERY = {"kill": 2000, "gateway": 250, "child": 300, "clock": 1000, "train": 120}  # interactions for each accident
FAULT_RATE = 0.05
UNFINISHED = 3  # trainings at once; more are not asked for, so that the queue is empty soon after the end
VANISHED = 0.1  # of the attachments
QUIET_S = 240.0  # that the end may take: announcements are tried again after up to 120 s
TOKEN_LIFE_S = 16 * 60.0
TITLE = re.compile(r"^\*\*Training .*\*\* · job #(\d+)")


def soak_config(data_dir: Path, base: Path) -> Config:
    """Trainings of a few seconds, and no limits on members."""
    many: dict[str, Any] = dict.fromkeys(
        ("waiting_jobs", "waiting_per_server", "waiting_per_member", "asks_per_member_minute"), 100_000
    )
    many |= {"trainings_per_server_day": 100_000, "trainings_per_member_day": 100_000}
    small: dict[str, Any] = {"threads": 1, "precision": "fp32"}
    return Config(
        bot=BotSettings(data_dir=str(data_dir), min_free_disk_mb=1, stop_grace_s=5.0),
        discord=DiscordSettings(progress_every_s=1.0),
        limits=LimitSettings(**many),
        training=TrainingSettings(base=str(base), epochs=2, max_post_tokens=64, **small),
        engine=EngineSettings(max_tokens=24, timeout_s=30.0, **small),
    )


@dataclass
class Result:
    """What the day gave; `failures` are the claims that do not hold."""

    rows: dict[str, object] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


class Soak:
    """One run."""

    def __init__(self, fake: FaultyDiscord, bot: Bot, rng: random.Random, *, count: int, rate: float) -> None:
        self.fake = fake
        self.bot = bot
        self.crowd = Crowd(fake, rng, WEIGHTS, members=500)
        self.result = Result()
        self._rng = rng
        self._count, self._rate = count, rate
        self._did: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        self._sessions = -1  # how many there had been when the gateway was last disturbed
        self._starts_s: list[float] = []
        self._orphans = 0

    async def run(self) -> Result:
        started = time.monotonic()
        self._starts_s.append(await self.bot.start())
        self.fake.fault_rate = FAULT_RATE
        accidents = self._accidents()
        for number in range(self._count):
            due = started + number / self._rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self.bot.exit_code is not None:
                self.result.failures.append(f"the bot ended by itself, with {self.bot.exit_code}")
                await self._live_again()
            for accident in accidents.get(number, ()):
                before = time.monotonic()
                await getattr(self, f"_{accident}")()
                started += time.monotonic() - before  # nobody asks while the bot is down
            if not self._is_settled:
                await asyncio.sleep(0.2)  # a few only: none of them reaches the bot in time
                started += 0.2
            away = not self._is_settled
            sent = await self.crowd.act()
            self.fake.watch(sent)
            if away or not self._is_settled:
                self.fake.excuses[sent.interaction.token].append(GATEWAY)
            if number % 100 == 0:
                self.fake.prune()
                self.fake.requests.clear()
        await self._settle_down()
        seconds = time.monotonic() - started
        self._check_interactions(seconds)
        return self.result

    async def finish(self, registry_file: Path) -> Result:
        """Wait for the jobs, stop the bot and check what is left."""
        is_quiet = await self._until(lambda: not _unsettled(registry_file), QUIET_S)
        children = list(self.bot.children())
        code = await self.bot.stop()
        await self._count_orphans(children)
        if code:
            self.result.failures.append(f"told to stop, the bot ended with {code}")
        if not is_quiet:
            self.result.failures.append(f"after {QUIET_S:g} s there are jobs not over or not announced")
        self._check_jobs(_jobs(registry_file))
        self._check_protocol()
        return self.result

    # ---- accidents

    def _accidents(self) -> dict[int, list[str]]:
        """What happens before which interaction."""
        plan: dict[int, list[str]] = {}
        for kind, every in EVERY.items():
            for _ in range(max(1, self._count // every)):
                plan.setdefault(self._rng.randrange(self._count // 20, self._count * 19 // 20), []).append(kind)
        plan.setdefault(0, []).append("train")
        return plan

    @property
    def _is_settled(self) -> bool:
        """Whether a client is connected that has heard of all disturbances."""
        session = self.fake.session
        greeted = self.fake.identify_count + self.fake.resume_count > self._sessions
        return greeted and session is not None and session.ws is not None

    async def _kill(self) -> None:
        children = list(self.bot.children())
        await self.bot.kill()
        self.fake.excuse_open(KILLED)
        self._did["bot killed"] += 1
        await self._live_again()
        await self._count_orphans(children)

    async def _live_again(self) -> None:
        self._starts_s.append(await self.bot.start())
        self._sessions = -1

    async def _count_orphans(self, children: list[int]) -> None:
        if not await self._until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 20):
            self._orphans += 1

    async def _gateway(self) -> None:
        if not self._is_settled:
            return
        kind = self._rng.choice(("cut", "cut and forgotten", "op 7", "op 9"))
        self._did[f"gateway: {kind}"] += 1
        self._sessions = self.fake.identify_count + self.fake.resume_count
        self.fake.excuse_open(GATEWAY, unacknowledged_only=True)
        if kind == "op 7":
            await self.fake.request_reconnect()
        elif kind == "op 9":
            await self.fake.invalidate_session()
        else:
            await self.fake.drop_gateway(forget_session=kind != "cut")

    async def _child(self) -> None:
        children = self.bot.children()
        if children:
            pid = self._rng.choice(list(children))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self._did[f"{children[pid]} killed"] += 1

    async def _clock(self) -> None:
        self.fake.clock_offset_s += TOKEN_LIFE_S
        self.fake.excuse_open(TOKEN_DIED)
        self._did["tokens died"] += 1

    async def _train(self) -> None:
        unfinished = [texts for texts in self.fake.shown.values() if state_in(texts[-1]) not in FINAL]
        if len(unfinished) >= UNFINISHED:
            return
        number = next(self._numbers)
        handle, name = f"bird{number}", f"posts{number}.jsonl"
        posts = "".join(json.dumps(post) + "\n" for post in made_up_posts(110, handle)).encode()
        if self._rng.random() < VANISHED:
            self.fake.vanish(name)
            self._did["attachments vanished"] += 1
        away = not self._is_settled
        made = await self.fake.slash(
            "train",
            {"handles": f"@{handle}", "ground": "public_domain"},
            attachments={"archive": (name, posts)},
            permissions=MANAGE_GUILD,
        )
        self.fake.watch(self.crowd.keep("train", made))
        if away or not self._is_settled:
            self.fake.excuses[made.token].append(GATEWAY)

    async def _settle_down(self) -> None:
        """No more faults; wait until everybody has an answer or an excuse."""
        self.fake.fault_rate = 0.0
        await self._until(lambda: self._is_settled, 60)

        def waiting() -> bool:
            self.fake.prune()
            return any(self.fake.excuse_of(sent.interaction) is None for sent in self.fake.open.values())

        await self._until(lambda: not waiting(), 90)

    async def _until(self, predicate: Any, timeout_s: float) -> bool:
        try:
            await self.fake.wait_for(predicate, timeout_s)
        except AssertionError:
            return False
        return True

    # ---- claims

    def _check_interactions(self, seconds: float) -> None:
        fake, rows, failures = self.fake, self.result.rows, self.result.failures
        excused: Counter[str] = Counter()
        bad: Counter[str] = Counter()
        in_spite = 0
        for sent in self.crowd.sent:
            why = fake.excuse_of(sent.interaction)
            if is_answered(sent.interaction):
                in_spite += why is not None
            elif why is not None:
                excused[("unacknowledged" if sent.interaction.response is None else "unanswered") + f": {why}"] += 1
            else:
                what = "not acknowledged" if sent.interaction.response is None else "acknowledged, not answered"
                bad[f"{sent.kind} {what}"] += 1
        acks = [s.interaction.acked_after_s for s in self.crowd.sent if s.interaction.acked_after_s is not None]
        answered = len(self.crowd.sent) - excused.total() - bad.total()
        rows["interactions sent"] = f"{len(self.crowd.sent)} in {seconds:.0f} s"
        rows["answered"] = f"{answered}, of which in spite of a fault: {in_spite}"
        rows["acknowledged after, ms"] = ", ".join(
            f"{name} {figure(acks, share) * 1000:.0f}" for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1))
        )
        rows |= {f"excused, {why}": number for why, number in sorted(excused.items())}
        rows["without acknowledgement or answer, and without excuse"] = bad.total()
        rows["faults of requests"] = f"{fake.faults.total()}: {tops(fake.faults)}"
        rows["other accidents"] = tops(self._did, 20)
        rows["seconds from start to login"] = ", ".join(f"{s:.1f}" for s in self._starts_s)
        failures += [f"{number}x {what}" for what, number in bad.items()]

    def _check_jobs(self, jobs: list[Json]) -> None:
        rows, failures = self.result.rows, self.result.failures
        by_job: dict[int, list[int]] = {}
        for message_id, contents in self.fake.shown.items():
            if found := TITLE.match(contents[-1]):
                by_job.setdefault(int(found[1]), []).append(message_id)
        told = [
            m["content"] for m in self.fake.messages.values() if m["author"] is self.fake.bot_user and m["mentions"]
        ]
        for job in jobs:
            name, messages = f"job {job['id']} ({job['state']})", by_job.get(job["id"], [])
            if len(messages) != 1:
                failures.append(f"{name} has {len(messages)} progress messages")
            for message_id in messages:
                if state_in(self.fake.shown[message_id][-1]) != job["state"]:
                    failures.append(f"{name}: its message says {self.fake.shown[message_id][-1]!r}")
                failures += [
                    f"{name}: edited after its end: {t!r}" for t in edits_after_the_end(self.fake.shown[message_id])
                ]
            end = (
                f"(job #{job['id']})"
                if job["state"] != "done"
                else f"**{job['model']}** version {job['version']} is ready"
            )
            announced = sum(end in content for content in told)
            if announced != 1:
                failures.append(f"{name} was announced {announced} times")
        if len(told) > len(jobs):
            failures.append(f"{len(told)} announcements of {len(jobs)} jobs")
        rows["jobs"] = tops(Counter(job["state"] for job in jobs))
        rows["progress messages edited"] = sum(len(contents) - 1 for contents in self.fake.shown.values())

    def _check_protocol(self) -> None:
        fake, rows, failures = self.fake, self.result.rows, self.result.failures
        rows["refused by Discord"] = tops(fake.refusals, 12)
        rows["kills that left a child behind"] = self._orphans
        failures += [f"unknown route: {text}" for text in fake.unknown_routes]
        failures += [f"limit broken: {text}" for text in fake.violations]
        failures += [f"nothing explains: {text}" for text in fake.unexplained]
        if self._orphans:
            failures.append(f"children outlived the bot {self._orphans} times")


def _jobs(registry_file: Path) -> list[Json]:
    """The jobs that a server asked for, as the registry has them."""
    with closing(sqlite3.connect(f"file:{registry_file}?mode=ro", uri=True)) as registry:
        registry.row_factory = sqlite3.Row
        return [dict(row) for row in registry.execute("SELECT * FROM jobs WHERE server_id != 0 ORDER BY id")]


def _unsettled(registry_file: Path) -> bool:
    return any(job["state"] not in FINAL or not job["announced"] for job in _jobs(registry_file))


def _log_of(data_dir: Path) -> Mapping[str, object]:
    """What the bot's log says went wrong, numbers left out."""
    lines = [line for path in sorted(data_dir.glob("mockingbird.log*")) for line in path.read_text().splitlines()]
    errors = [re.sub(r"\d+|error [0-9a-f]{8}", "#", line.split(" ", 3)[-1]) for line in lines if " ERROR " in line]
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Conflict|Trouble)\b", line)]
    return {
        "errors in the log": tops(Counter(line[:90] for line in errors), 12),
        "exceptions in the log": tops(Counter(re.sub(r"\d{5,}", "#", line)[:110] for line in raised), 12),
    }


async def soak(config: Config, folder: Path, *, count: int, rate: float, seed: int) -> Result:
    """The whole run; a model that everybody may use is there already."""
    rng = random.Random(seed)
    async with FaultyDiscord(random.Random(seed + 1)) as fake:
        run = Soak(fake, Bot(fake, write_config(config, folder / "soak.toml")), rng, count=count, rate=rate)
        try:
            await run.run()
            result = await run.finish(config.data_dir / "registry.sqlite3")
        finally:
            if run.bot.exit_code is None:
                await run.bot.kill()
    result.rows |= _log_of(config.data_dir)
    return result


async def main(count: int, rate: float, seed: int) -> int:
    print(f"{machine()}; seed {seed}\n", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = soak_config(folder / "var", await asyncio.to_thread(write_tiny_base, folder / "base"))
        posts = folder / "robin.jsonl"
        posts.write_text("".join(json.dumps(post) + "\n" for post in made_up_posts(120)))
        await furnish(config, posts, "@robin")
        result = await soak(config, folder, count=count, rate=rate, seed=seed)
    print(table(result.rows))
    print(
        "\n" + "\n".join(f"FAILED: {text}" for text in result.failures[:40])
        if result.failures
        else "\nAll claims hold."
    )
    return 1 if result.failures else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sys.exit(asyncio.run(main(arguments.count, arguments.rate, arguments.seed)))
