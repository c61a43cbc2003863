"""A crowd for the stand-in for Discord: members who use the bot in every way they can, drawn by weight from a seed."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from tests.fakes.discord_payloads import CHOICES, DEFER, MODAL, REPLY, Interaction, Json, snowflake, walk
from tests.fakes.discord_server import MANAGE_GUILD, FakeDiscord

WORDS = ("my dream is", "the last bus", "soup", "why", "nobody told me", "the moon", "", "", "rain at four")
LATEST = 400  # interactions whose messages the crowd still looks at


@dataclass(frozen=True, kw_only=True, eq=False)
class Sent:
    """An interaction as the crowd made it."""

    kind: str
    interaction: Interaction
    due: float  # when it was to be sent, by time.monotonic()


class Crowd:
    """Makes interactions; who answers them is not waited for."""

    def __init__(self, fake: FakeDiscord, rng: random.Random, weights: Mapping[str, float], *, members: int) -> None:
        self.fake = fake
        self.rng = rng
        self.models: list[str] = []
        self.sent: list[Sent] = []
        self._kinds, self._weights = list(weights), list(weights.values())
        self._members = [snowflake() for _ in range(members)]
        self._latest: dict[str, deque[Sent]] = defaultdict(lambda: deque(maxlen=LATEST))
        self._acts: dict[str, Callable[[int], Awaitable[Interaction | None]]] = {
            "say": self._say,
            "again": self._again,
            "delete": self._delete,
            "page": self._page,
            "autocomplete": self._autocomplete,
            "info": lambda who: self.fake.slash("models", subcommand="info", member_id=who),
            "models": lambda who: self.fake.slash("models", subcommand="list", member_id=who),
            "jobs": lambda who: self.fake.slash("jobs", subcommand="list", member_id=who),
            "why": lambda who: self.fake.slash("why", {"what": self.rng.choice(("say", "train"))}, member_id=who),
            "cancel": self._cancel,
            "retry": self._retry,
        }

    async def act(self, kind: str | None = None, *, due: float | None = None) -> Sent:
        """One interaction; where there is no message with the button that it needs, a /help instead."""
        kind = kind or self.rng.choices(self._kinds, self._weights)[0]
        who = self.rng.choice(self._members)
        if kind in self._acts:
            made = await self._acts[kind](who)
        else:
            made = await self.fake.slash(kind, member_id=who)
        if made is None:
            kind, made = "help", await self.fake.slash("help", member_id=who)
        return self.keep(kind, made, due=due)

    def keep(self, kind: str, made: Interaction, *, due: float | None = None) -> Sent:
        """Enter an interaction that was made elsewhere."""
        sent = Sent(kind=kind, interaction=made, due=due or time.monotonic())
        self.sent.append(sent)
        self._latest[kind].append(sent)
        return sent

    # ---- the kinds

    async def _say(self, who: int) -> Interaction:
        options: Json = {"count": self.rng.choice((1, 1, 1, 2))}
        options |= {"prompt": prompt} if (prompt := self.rng.choice(WORDS)) else {}
        options |= {"model": self.rng.choice(self.models)} if self.models and self.rng.random() < 0.3 else {}
        return await self.fake.slash("say", options, member_id=who)

    async def _autocomplete(self, who: int) -> Interaction:
        name, subcommand = self.rng.choice((("say", ""), ("models", "info")))
        typed = self.rng.choice(("", "n", "ni", "nig", "v", "xyz"))
        return await self.fake.type_option(name, "model", typed, subcommand=subcommand, member_id=who)

    async def _again(self, who: int) -> Interaction | None:
        found = self._find("again:", "say", "again")
        return await self.fake.click(int(found[1]["id"]), found[2], who) if found else None

    async def _delete(self, who: int) -> Interaction | None:
        found = self._find("delete:", "say", "again")
        if found is None:
            return None
        sent, message, custom_id = found
        for kind in ("say", "again"):
            if sent in self._latest[kind]:
                self._latest[kind].remove(sent)
        asker = int(custom_id.partition(":")[2])
        return await self.fake.click(int(message["id"]), custom_id, asker)

    async def _page(self, who: int) -> Interaction | None:
        found = self._find(("models:", "jobs:"), "models", "jobs")
        if found is None:
            return None
        return await self.fake.click(int(found[1]["id"]), found[2], int(found[0].interaction.user["id"]))

    async def _cancel(self, who: int) -> Interaction | None:
        return await self._press_manager("cancel:")

    async def _retry(self, who: int) -> Interaction | None:
        return await self._press_manager("retry:")

    async def _press_manager(self, prefix: str) -> Interaction | None:
        """Press a button of that kind on one of the latest messages that have one, as who manages the server."""
        latest = list(self.fake.messages.values())[-3 * LATEST :]
        found = [(m, c["custom_id"]) for m in latest for c in _enabled(m, (prefix,))]
        if not found:
            return None
        message, custom_id = self.rng.choice(found)
        return await self.fake.click(int(message["id"]), custom_id, self.fake.member_id, MANAGE_GUILD)

    def _find(self, prefixes: str | tuple[str, ...], *kinds: str) -> tuple[Sent, Json, str] | None:
        """An answered interaction of those kinds whose message has a button of that kind."""
        for _ in range(12):
            pool = self._latest[self.rng.choice(kinds)]
            if not pool:
                continue
            sent = self.rng.choice(pool)
            message = sent.interaction.message
            if message is None or int(message["id"]) not in self.fake.messages:
                continue
            if buttons := _enabled(message, prefixes if isinstance(prefixes, tuple) else (prefixes,)):
                return sent, message, self.rng.choice(buttons)["custom_id"]
        return None


def _enabled(message: Json, prefixes: tuple[str, ...]) -> list[Json]:
    if not message["components"]:
        return []
    found = [c for c in walk(message["components"]) if c.get("custom_id", "").startswith(prefixes)]
    return [c for c in found if not c.get("disabled")]


def is_answered(interaction: Interaction) -> bool:
    """Whether its user has seen what came of it: choices, a form, a message, a changed one, or one that is gone."""
    if interaction.response is None:
        return False
    if interaction.response["type"] in (CHOICES, MODAL) or interaction.answer is not None:
        return True
    source = interaction.source
    if source is not None and int(source["id"]) not in interaction.server.messages:
        return True  # that was what the button was for
    return interaction.message is None and interaction.response["type"] in (DEFER, REPLY)  # shown, and taken away


def figure(values: list[float], share: float) -> float:
    """The value at that share of the sorted values (nearest rank); nan if there are none."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def tops(words: Counter[str], most: int = 8) -> str:
    """The commonest, with their counts."""
    return "; ".join(f"{count}x {word}" for word, count in words.most_common(most)) or "none"
