"""Who may do what here: each rule is one check, which a command requires and /why explains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil

from bot.config import Config
from bot.records import HOUSE, Caller, JobState
from bot.registry import Registry
from bot.settings import Settings
from bot.strings import strings
from bot.windows import Window
from models.errors import NotAllowed

MINUTE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Check:
    """A rule, and whether it lets the caller through. `facts` fill in its sentence."""

    rule: str
    passed: bool
    facts: dict[str, object] = field(default_factory=dict)


class Permits:
    """The rules of the operator and of each server's admins."""

    def __init__(self, config: Config, registry: Registry, settings: Settings) -> None:
        self._config = config
        self._registry = registry
        self._settings = settings
        self._blocked: set[tuple[int, str]] = set()
        self._asks = Window(MINUTE_S)

    async def load(self) -> None:
        """Read the block list anew."""
        self._blocked = await self._registry.blocks()
        self._blocked |= {(HOUSE, handle.removeprefix("@").lower()) for handle in self._config.blocks.handles}

    def presence(self, caller: Caller) -> list[Check]:
        """Whether the caller is served at all, here."""
        blocks, settings = self._config.blocks, self._settings.of(caller.server_id)
        return [
            Check(rule="served_server", passed=caller.server_id not in blocks.servers),
            Check(rule="served_member", passed=caller.user_id not in blocks.users),
            Check(
                rule="channel",
                passed=not settings.channels or caller.place_id in settings.channels,
                facts={"channels": " ".join(f"<#{channel}>" for channel in settings.channels)},
            ),
        ]

    def speaking(self, caller: Caller) -> list[Check]:
        """Whether the caller may have posts now."""
        if caller.server_id == HOUSE:
            return []
        limit = self._settings.limit(caller.server_id, "asks_per_member_minute")
        wait_s = self._asks.wait_s((caller.server_id, caller.user_id), limit)
        facts: dict[str, object] = {"limit": limit, "seconds": ceil(wait_s)}
        return [*self.presence(caller), Check(rule="asks", passed=wait_s == 0, facts=facts)]

    def count_ask(self, caller: Caller) -> None:
        """One more request of the caller."""
        self._asks.add((caller.server_id, caller.user_id))

    async def training(self, caller: Caller, handles: Sequence[str] = ()) -> list[Check]:
        """Whether the caller may have these accounts learned now."""
        consent = self.accounts(caller.server_id, handles)
        unfinished = await self._registry.unfinished()
        queue = Check(
            rule="queue",
            passed=len(unfinished) < self._config.limits.waiting_jobs,
            facts={"waiting": len(unfinished), "limit": self._config.limits.waiting_jobs},
        )
        if caller.server_id == HOUSE:
            return [consent, queue]
        server, member = caller.server_id, caller.user_id
        here = [job for job in unfinished if job.server_id == server and job.state == JobState.QUEUED]
        mine = [job for job in here if job.user_id == member]
        limits = self._config.limits

        def room(rule: str, used: int, limit: int) -> Check:
            return Check(rule=rule, passed=used < limit, facts={"used": used, "limit": limit})

        today = self._registry.count_started_today
        return [
            *self.presence(caller),
            Check(rule="trainer", passed=self.may_train(caller)),
            consent,
            room("waiting_member", len(mine), limits.waiting_per_member),
            room("waiting_server", len(here), limits.waiting_per_server),
            room(
                "day_member",
                await today(server_id=server, user_id=member),
                self._settings.limit(server, "trainings_per_member_day"),
            ),
            room("day_server", await today(server_id=server), self._settings.limit(server, "trainings_per_server_day")),
            queue,
        ]

    def may_train(self, caller: Caller) -> bool:
        """Managers, and the roles that the admins named; where they named none, whom Discord's own settings let."""
        roles = self._settings.of(caller.server_id).trainer_roles
        return caller.may_manage or (bool(caller.roles & set(roles)) if roles else caller.may_train)

    def accounts(self, server_id: int, handles: Sequence[str]) -> Check:
        """Whether these accounts may be learned in that server."""
        blocked = [h for h in handles if self.is_blocked(server_id, h)]
        return Check(rule="account", passed=not blocked, facts={"handles": ", ".join(f"@{h}" for h in blocked)})

    def is_blocked(self, server_id: int, handle: str) -> bool:
        """Whether the account may not be learned in that server."""
        return bool({(HOUSE, handle.lower()), (server_id, handle.lower())} & self._blocked)


def require(checks: Iterable[Check]) -> None:
    """NotAllowed for the first rule that does not let the caller through."""
    for check in checks:
        if not check.passed:
            text = strings()(f"why.{check.rule}.no", **check.facts)
            raise NotAllowed(text, rule=check.rule, facts=check.facts)


def require_manager(caller: Caller) -> None:
    """NotAllowed for who does not manage the server."""
    require([Check(rule="manager", passed=caller.may_manage)])
