"""A stand-in for Discord that fails at random, and keeps book of whom that excuses and of what the bot showed."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter, defaultdict
from typing import Any

from aiohttp import web

from benchmarks.discord_crowd import Sent, is_answered
from tests.fakes.discord_payloads import ACK_LIMIT_S, AUTOCOMPLETE, Interaction, Json
from tests.fakes.discord_server import FakeDiscord

# what becomes of a request: status 0 cuts the connection before anything is done
STATUSES: dict[str, tuple[int, Any, dict[str, str]]] = {
    "429": (429, {"code": 0, "message": "limited", "retry_after": 0.3, "global": False}, {"Via": "1.1 google"}),
    "429 of Cloudflare": (429, "error code: 1015", {}),
    "500": (500, {"code": 0, "message": "500: Internal Server Error"}, {}),
    "502": (502, "<html>bad gateway</html>", {}),
    "503": (503, {"code": 0, "message": "503"}, {}),
    "reset": (0, None, {}),
}
DELAYS = ("slow", "lost reply")  # done late; done, and the connection cut before the answer
SLOW_S = (0.3, 1.5)
# A failing login or a failing /gateway/bot makes the bot wait for many seconds: tested elsewhere, too long for here.
SPARED = re.compile(r"/users/@me|/oauth2/.*|/gateway/bot|/gw.*|/applications/\d+/commands")
BY_TOKEN = re.compile(r"/(interactions|webhooks)/\d+/([^/]+)")
ANSWER_LIMIT_S = 60.0  # for an answer, once acknowledged
KILLED, TOKEN_DIED, GATEWAY = "killed", "token died", "gateway away"
ACCIDENTS = (KILLED, TOKEN_DIED, GATEWAY)
# One fault excuses only what is not tried again: a callback that Cloudflare refuses, and choices that were cut.
_REFUSED = "429 of Cloudflare on the callback"
_CUT = "reset on the callback"
FINAL = ("done", "failed", "cancelled")


class FaultyDiscord(FakeDiscord):
    """`fault_rate` of the requests fail; an interaction has excuses for having got no answer."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.fault_rate = 0.0
        self.faults: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()  # what the bot did that Discord does not have
        self.unexplained: list[str] = []  # those of them that no fault explains
        self.shown: dict[int, list[str]] = defaultdict(list)  # contents of progress messages, by message
        self.open: dict[str, Sent] = {}  # interactions without an answer, by token
        self.excuses: dict[str, list[str]] = defaultdict(list)  # by token
        self._rng = rng

    # ---- excuses

    def watch(self, sent: Sent) -> None:
        self.open[sent.interaction.token] = sent

    def prune(self) -> None:
        """Forget who has been answered."""
        self.open = {token: sent for token, sent in self.open.items() if not is_answered(sent.interaction)}

    def excuse_open(self, why: str, *, unacknowledged_only: bool = False) -> None:
        """Something happens to the bot, which excuses whoever waits for it now and has not waited too long already."""
        self.prune()
        for token, sent in self.open.items():
            is_new = sent.interaction.response is None
            in_time = time.monotonic() - sent.due < (ACK_LIMIT_S if is_new else ANSWER_LIMIT_S)
            if in_time and (is_new or not unacknowledged_only):
                self.excuses[token].append(why)

    def excuse_of(self, interaction: Interaction) -> str | None:
        """Why it may have got no acknowledgement; or if it has got one, why it may have got no answer."""
        is_new, excuses = interaction.response is None, self.excuses.get(interaction.token, [])
        for why in excuses:
            if why in ACCIDENTS and (is_new or why != GATEWAY):
                return why
        struck = [why for why in excuses if why.endswith("on the callback" if is_new else "on the answer")]
        is_choices = interaction.type == AUTOCOMPLETE
        for why in excuses:
            if is_new and (why == _REFUSED or (why == _CUT and is_choices)):
                return why
        return f"several faults, {struck[0]}" if len(struck) > 1 else None

    # ---- faults

    def _draw(self, path: str, kinds: tuple[str, ...]) -> str | None:
        """The fault of this kind that strikes the request, if one does."""
        total = len(STATUSES) + len(DELAYS)
        if SPARED.fullmatch(path) or self._rng.random() >= self.fault_rate * len(kinds) / total:
            return None
        kind = self._rng.choice(kinds)
        self.faults[kind] += 1
        if found := BY_TOKEN.match(path):
            self.excuses[found[2]].append(f"{kind} on the {'callback' if path.endswith('/callback') else 'answer'}")
        return kind

    def _failure(self, request: web.Request, path: str) -> web.StreamResponse | None:
        if kind := self._draw(path, tuple(STATUSES)):
            answer = STATUSES[kind]
            return self._respond(*answer) if answer[0] else self._cut(request)
        return super()._failure(request, path)

    async def _answer(self, request: web.Request, path: str, body: Any, files: Any) -> web.StreamResponse:
        kind = self._draw(path, DELAYS)
        if kind == "slow":
            await asyncio.sleep(self._rng.uniform(*SLOW_S))
            if request.transport is None:  # who asked is dead: Discord would have been done before that
                return self._cut(request)
        response = await super()._answer(request, path, body, files)
        if response.status >= 400 and isinstance(response, web.Response):
            self._note_refusal(request.method, path, response)
        return self._cut(request) if kind == "lost reply" else response

    def _note_refusal(self, method: str, path: str, response: web.Response) -> None:
        about = json.loads(response.body) if isinstance(response.body, bytes) and response.body else {}
        template = re.sub(r"token-\w+", "{token}", re.sub(r"\d{15,}", "{id}", path))
        text = f"{method} {template}: {response.status} {about.get('code', '')} {about.get('message', '')}".strip()
        self.refusals[text] += 1
        found = BY_TOKEN.match(path)
        if about.get("code") in (40060, 10062) and not (found and self.excuses.get(found[2])):
            age_s = self._clock() - self.interactions[found[2]].created if found else 0.0
            self.unexplained.append(f"{text} after {age_s:.1f} s")

    # ---- what the bot showed

    async def _create(self, *args: Any, **kwargs: Any) -> Json:
        message = await super()._create(*args, **kwargs)
        if str(message["nonce"] or "").startswith("job-"):
            self.shown[int(message["id"])].append(message["content"])
        return message

    async def _edit(self, message: Json, *args: Any) -> Json:
        edited = await super()._edit(message, *args)
        if int(message["id"]) in self.shown:
            self.shown[int(message["id"])].append(edited["content"])
        return edited


def state_in(content: str) -> str:
    """The line of a progress message that says how far the job is."""
    return [*content.splitlines(), "", ""][1]


def edits_after_the_end(contents: list[str]) -> list[str]:
    """What a progress message said after it had said how the job ended, if that was something else."""
    first = next((i for i, content in enumerate(contents) if state_in(content) in FINAL), len(contents))
    return [content for content in contents[first + 1 :] if content != contents[first]]
