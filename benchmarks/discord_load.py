"""The bot under a crowd: `python -m benchmarks.discord_load [--rate 200] [--seconds 60] [--seed 1]`.

The real process, with a training of the built-in base under way all the time, answers interactions that the tests'
stand-in for Discord sends by the clock, whether or not earlier ones were answered. Prints as a table how long each
took to be acknowledged, from its dispatch to the arrival of the callback, and what the processes used; exits with 1
if a goal is missed: 99 % acknowledged within 250 ms, none lost, no late heartbeat. Everything shares the machine:
generator, bot, engine and trainer.

The bot's event loop is looked at from outside: once a second Discord asks for a heartbeat (op 1), which the loop has
to send in between all else. The kernel tells how long its thread waited for a CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.discord_crowd import Crowd, Sent, figure, is_answered, tops
from benchmarks.discord_house import Bot, LoopLag, Reading, crowd_the_shelf, furnish, machine, table, write_config
from bot.config import BotSettings, Config, LimitSettings
from models.records import TrainingSettings
from tests.fakes.discord_payloads import ACK_LIMIT_S, EPHEMERAL
from tests.fakes.discord_server import MANAGE_GUILD, FakeDiscord

SAMPLE = Path(__file__).resolve().parent.parent / "samples" / "nightbus_nell.jsonl"
WEIGHTS = {
    **{"autocomplete": 30, "help": 14, "page": 13, "models": 12, "status": 10, "jobs": 9, "why": 9},
    **{"say": 1, "again": 0.5, "delete": 1},
}
HEARTBEAT_S, LATE_S = 5.0, 1.0
WARM_UP_S, AFTER_S = 5.0, 60.0
GOAL_MS = 250


@dataclass
class Measured:
    """What one run gave."""

    sent: list[Sent] = field(default_factory=list)
    late_by_s: list[float] = field(default_factory=list)  # the generator, when it sent
    lags_s: list[float] = field(default_factory=list)
    probes_s: list[float] = field(default_factory=list)
    heartbeats: list[tuple[int, float]] = field(default_factory=list)
    own_cpu_s: float = 0.0
    seconds: float = 0.0
    used: dict[str, tuple[Reading, Reading]] = field(default_factory=dict)  # by process: before, after
    unanswered: list[Sent] = field(default_factory=list)
    drained_s: float = 0.0
    connections: int = 0


def config_for(data_dir: Path, **training: object) -> Config:
    """The defaults, but for limits on one member; how many may wait for the engine stays: that is its shield."""
    limits = LimitSettings(asks_per_member_minute=100_000, trainings_per_member_day=100)
    return Config(
        bot=BotSettings(data_dir=str(data_dir)),
        limits=limits,
        training=TrainingSettings(**training),  # type: ignore[arg-type]
    )


async def main(rate: float, seconds: float, seed: int) -> int:
    print(f"{machine()}; {rate:g} interactions a second for {seconds:g} s, seed {seed}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        async with FakeDiscord() as fake:
            fake.heartbeat_interval_s = HEARTBEAT_S
            fake.attachment_size_limit = 64 << 20
            crowd, bot = await open_house(fake, Path(folder), seed)
            try:
                await begin_training(fake)
                await warm_up(crowd, rate)
                measured = await measure(fake, crowd, bot, rate, seconds)
                if not any("**Training" in m["content"] and m["components"] for m in fake.messages.values()):
                    raise SystemExit("the training was over before the measurement was")
            finally:
                await bot.kill()  # a stop would write a checkpoint, which nobody needs
    return report(measured)


async def open_house(fake: FakeDiscord, folder: Path, seed: int) -> tuple[Crowd, Bot]:
    posts = folder / "few.jsonl"
    posts.write_text("".join(SAMPLE.read_text().splitlines(keepends=True)[:150]))
    await furnish(config_for(folder / "var", epochs=1, evaluations_per_epoch=1), posts, "@nightbus_nell")
    config = config_for(folder / "var", epochs=100, patience=100)
    names = await asyncio.to_thread(crowd_the_shelf, config, fake.guild_id, models=25)
    crowd = Crowd(fake, random.Random(seed), WEIGHTS, members=2000)
    crowd.models = ["nightbus_nell", *names[:3]]
    bot = Bot(fake, write_config(config, folder / "config.toml"))
    print(f"logged in after {await bot.start():.1f} s", flush=True)
    return crowd, bot


async def begin_training(fake: FakeDiscord) -> None:
    attachments = {"archive": ("posts.jsonl", SAMPLE.read_bytes())}
    await fake.slash(
        "train", {"handles": "@busy", "ground": "public_domain"}, attachments=attachments, permissions=MANAGE_GUILD
    )
    await fake.wait_for(
        lambda: any("**Training" in m["content"] and "loss" in m["content"] for m in fake.messages.values()),
        120,
        what="the training",
    )


async def warm_up(crowd: Crowd, rate: float) -> None:
    """Lists and posts that have buttons to press, the engine's first models, and a few seconds of everything."""
    made = [await crowd.act(kind) for kind in ["models", "jobs"] * 25 + ["say"] * 20]
    await crowd.fake.wait_for(lambda: all(is_answered(s.interaction) for s in made), 120, what="what was asked first")
    await send(crowd, rate, WARM_UP_S, [])


async def send(crowd: Crowd, rate: float, seconds: float, late_by_s: list[float]) -> None:
    """Interactions by the clock."""
    tasks: set[asyncio.Task[Sent]] = set()
    start = time.monotonic()
    for number in range(round(rate * seconds)):
        due = start + number / rate
        if (wait_s := due - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)
        late_by_s.append(time.monotonic() - due)
        task = asyncio.create_task(crowd.act(due=due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)


async def measure(fake: FakeDiscord, crowd: Crowd, bot: Bot, rate: float, seconds: float) -> Measured:
    found = Measured()
    crowd.sent = found.sent
    fake.heartbeat_answers_s.clear()
    lag = LoopLag()
    gc.collect()
    gc.freeze()
    gc.disable()  # the generator's pauses are not the bot's
    watching = [asyncio.create_task(lag.run()), asyncio.create_task(_probe(fake))]
    processes = {"bot": bot.pid, **{name: pid for pid, name in bot.children().items()}}
    before = {name: Reading.of(pid) for name, pid in processes.items()}
    first_beat, connections = len(fake.heartbeats), fake.identify_count + fake.resume_count
    own_cpu_s, started = time.process_time(), time.monotonic()
    fake.requests.clear()
    await send(crowd, rate, seconds, found.late_by_s)
    found.seconds, found.own_cpu_s = time.monotonic() - started, time.process_time() - own_cpu_s
    found.used = {name: (before[name], Reading.of(pid)) for name, pid in processes.items()}
    found.lags_s, found.probes_s = list(lag.lags_s), list(fake.heartbeat_answers_s)
    open_now = found.sent
    while time.monotonic() < started + seconds + AFTER_S:
        open_now = [sent for sent in open_now if not is_answered(sent.interaction)]
        if not open_now and time.monotonic() > started + seconds + ACK_LIMIT_S:
            break
        found.drained_s = time.monotonic() - started - seconds if open_now else found.drained_s
        await asyncio.sleep(0.2)
    found.unanswered = [sent for sent in open_now if sent.interaction.acked_after_s is not None]
    found.heartbeats = fake.heartbeats[max(0, first_beat - 1) :]
    found.connections = fake.identify_count + fake.resume_count - connections
    for task in watching:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    gc.enable()
    return found


async def _probe(fake: FakeDiscord) -> None:
    while True:
        with suppress(AssertionError):  # nobody is connected just now
            await fake.ask_heartbeat()
        await asyncio.sleep(1)


def report(found: Measured) -> int:
    acks = {kind: [] for kind in WEIGHTS}  # type: dict[str, list[float]]
    lost: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for sent in found.sent:
        after_s = sent.interaction.acked_after_s
        if after_s is None or after_s > ACK_LIMIT_S:
            lost[sent.kind] += 1
        else:
            acks.setdefault(sent.kind, []).append(after_s * 1000)
        answer = sent.interaction.answer
        if sent.kind in ("say", "again") and answer and answer["flags"] & EPHEMERAL:
            refused[answer["content"][:70]] += 1
    everything = [ms for values in acks.values() for ms in values]
    gaps = [b - a for (c, a), (d, b) in zip(found.heartbeats, found.heartbeats[1:], strict=False) if c == d]
    late = sum(gap > HEARTBEAT_S + LATE_S for gap in gaps)
    print("\n| acknowledged after, ms | n | p50 | p90 | p99 | max |\n|---|---|---|---|---|---|")
    for kind, values in {"all": everything, **acks}.items():
        shown = " | ".join(f"{figure(values, share):.0f}" for share in (0.5, 0.9, 0.99, 1.0))
        print(f"| {kind} | {len(values)} | {shown} |")
    rows: dict[str, object] = {
        "sent": f"{len(found.sent)} in {found.seconds:.1f} s ({len(found.sent) / found.seconds:.0f} a second)",
        f"lost (not acknowledged within {ACK_LIMIT_S:g} s)": f"{lost.total()} {dict(lost) or ''}",
        f"acknowledged, but unanswered {AFTER_S:g} s after the end": tops(Counter(s.kind for s in found.unanswered)),
        "seconds after the end until all was answered": f"{found.drained_s:.1f}",
        "/say and Again answered with a refusal": tops(refused),
        f"heartbeats, every {HEARTBEAT_S:g} s": f"{len(gaps)}, longest gap {max(gaps, default=0):.2f} s, late: {late}",
        "gateway connections lost": found.connections,
        "bot's loop: asked for a heartbeat, it came after, ms": _spread(found.probes_s),
        **_usage(found),
        "generator: CPU": f"{found.own_cpu_s / found.seconds:.0%} of a core",
        "generator: its own loop woke late by, ms": _spread(found.lags_s),
        "generator: sent later than due by, ms": _spread(found.late_by_s),
    }
    print("\n" + table(rows))
    goals = {
        f"p99 < {GOAL_MS} ms": figure(everything, 0.99) < GOAL_MS,
        "none lost": not lost,
        "none unanswered": not found.unanswered,
        "no late heartbeat": not late and not found.connections,
    }
    print("\n" + ", ".join(f"{goal}: {'yes' if met else 'NO'}" for goal, met in goals.items()))
    if figure(found.lags_s, 0.99) > 0.05:
        print("The generator itself was late (its loop's p99 is over 50 ms): the figures are too high by as much.")
    return 0 if all(goals.values()) else 1


def _usage(found: Measured) -> dict[str, str]:
    rows = {}
    for name, (before, after) in found.used.items():
        cpu = (after.cpu_s - before.cpu_s) / found.seconds
        rows[f"{name}: CPU, memory"] = f"{cpu:.0%} of a core, {after.rss_mb:.0f} MiB"
    before, after = found.used["bot"]
    run, wait = after.main_run_s - before.main_run_s, after.main_wait_s - before.main_wait_s
    rows["bot's main thread: ran, waited for a CPU"] = f"{run / found.seconds:.0%}, {wait / found.seconds:.0%}"
    return rows


def _spread(values_s: list[float]) -> str:
    shown = ", ".join(f"{name} {figure(values_s, share) * 1000:.0f}" for name, share in _SHARES.items())
    return f"{shown} (n={len(values_s)})"


_SHARES = {"p50": 0.5, "p99": 0.99, "max": 1.0}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sys.exit(asyncio.run(main(arguments.rate, arguments.seconds, arguments.seed)))
