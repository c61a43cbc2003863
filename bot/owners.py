"""Whose account is whose: a code in the account's bio proves it."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from math import ceil
from pathlib import Path

from bot.children import OUR_PROGRAMS, Child, run_to_end
from bot.config import Config
from bot.datadir import LOOKS, DataDir
from bot.permits import Check, require
from bot.plans import BLUESKY, MASTODON, X_API, PlannedAccount, handle_of, secrets_for
from bot.records import Caller
from bot.registry import Registry
from bot.windows import Window
from models.errors import CantProve, ChildError, UserError
from models.files import RunFolder, read_json, write_json
from models.messages import Failed
from models.records import X_TOKEN, AccountSource, Profile, RunSpec
from models.source_errors import NotProven

log = logging.getLogger(__name__)

PLATFORMS = {X_API: "X", BLUESKY: "Bluesky", MASTODON: "Mastodon"}
LOOK_TIMEOUT_S = 120.0  # of silence; a platform that makes us wait longer is not waited for
UNSEEN = "I can't see that profile now. Try again later."
HOUR_S = 3600.0
MAX_LOOKS = 10  # of a member within an hour, the telling of codes included: each starts a process, and costs on X


class Owners:
    """Proofs of ownership."""

    def __init__(
        self, config: Config, data: DataDir, registry: Registry, *, program: Sequence[str] = OUR_PROGRAMS.trainer
    ) -> None:
        self._config = config
        self._data = data
        self._registry = registry
        self._program = program
        self._looks = Window(HOUR_S)

    @property
    def is_x_api_on(self) -> bool:
        """Whether the operator lets X's API be used."""
        return self._config.x_api.accept_terms and bool(os.environ.get(X_TOKEN, "").strip())

    async def proven(self, caller: Caller, account: PlannedAccount) -> PlannedAccount:
        """The account; proven if it is fetched on the ground that it is the caller's own. NotProven, or SourceError."""
        if account.ground != "own_account" or not account.is_fetched:
            return account
        assert account.handle
        await self._check(caller, account.handle)
        return replace(account, is_proven=True)

    async def use_proofs(self, caller: Caller, accounts: Sequence[PlannedAccount]) -> None:
        """The codes of proven accounts have served."""
        for account in accounts:
            if account.is_proven and account.handle:
                await self._registry.use_proof(caller.user_id, account.handle)

    async def require_owner(self, caller: Caller, handle: str) -> str:
        """The account's handle as its platform has it, if the caller proves that it is theirs; the code serves once.

        NotProven with the code that its bio has to hold, CantProve, NotAllowed for who asks too often, or UserError.
        """
        handle, known_as = await self._check(caller, handle)
        await self._registry.use_proof(caller.user_id, handle)
        return known_as

    async def _check(self, caller: Caller, handle: str) -> tuple[str, str]:
        """(the handle as it was asked for, as its platform has it)"""
        handle, source = handle_of(handle)
        if source == X_API and not self.is_x_api_on:
            raise CantProve(handle)
        wait_s = self._looks.wait_s(caller.user_id, MAX_LOOKS)
        facts: dict[str, object] = {"limit": MAX_LOOKS, "minutes": ceil(wait_s / 60)}
        require([Check(rule="looks", passed=wait_s == 0, facts=facts)])
        self._looks.add(caller.user_id)
        code, is_new = await self._registry.proof_code(caller.user_id, handle)
        missing = NotProven(handle, where=PLATFORMS[source], code=code)
        if is_new:
            raise missing
        profile = await self._look(AccountSource(source=source, handle=handle, ground="own_account", is_proven=True))
        if code.casefold() not in profile.bio.casefold():
            raise missing
        return handle, profile.handle

    async def _look(self, account: AccountSource) -> Profile:
        """Who the account is now, as its platform says; UserError if that can't be had."""
        with tempfile.TemporaryDirectory(prefix=LOOKS, dir=self._data.path) as path:
            folder = RunFolder(Path(path))
            spec = RunSpec(job_id=0, model="", accounts=(account,), training=self._config.training)
            write_json(folder.spec_file, spec)
            grace_s, secrets = self._config.bot.stop_grace_s, secrets_for("look", spec)
            try:
                child = await Child.spawn("look", [*self._program, "look", path], grace_s=grace_s, secrets=secrets)
                async with aclosing(run_to_end(child, silence_timeout_s=LOOK_TIMEOUT_S)) as messages:
                    async for message in messages:
                        if isinstance(message, Failed):
                            log.warning("looking at a profile failed: %s", message.kind)
                            raise UserError(message.text if message.is_user_error else UNSEEN)
            except ChildError as exc:
                log.warning("looking at a profile failed: %s", exc)
                raise UserError(UNSEEN) from exc
            return read_json(folder.profiles_file, tuple[Profile, ...])[0]
