"""An engine that makes posts up without a model: the same request gives the same posts. ORDERS BASE SETTINGS.

Orders: `engine-waits`, `engine-says` (a post a line, none if empty), `engine-refuses` (why), `engine-dies`,
`engine-fails` (why, instead of `ready`). Every request is kept in requests.jsonl beside them.
"""

import hashlib
import os
import sys
import time
from collections import deque
from pathlib import Path

import msgspec

from models.child import Channel
from models.errors import MockingbirdError, Unusable
from models.files import read_manifest
from models.messages import Cancel, Completed, Delta, Generate, Message, Ready, Refused, Stopped
from tests.fakes.children.orders import POLL_S, Orders

WORDS = ("kettle", "ladder", "pigeon", "harbour", "button", "tram", "lamp", "piano", "garden", "umbrella")


class QuickEngine:
    """Answers one request after the other."""

    def __init__(self, channel: Channel, orders: Orders) -> None:
        self._channel = channel
        self._orders = orders
        self._inbox: deque[Message] = deque()

    def serve(self) -> None:
        while True:
            message = self._inbox.popleft() if self._inbox else self._channel.receive(wait=True)
            if isinstance(message, Generate):
                with (self._orders.folder / "requests.jsonl").open("ab") as file:
                    file.write(msgspec.json.encode(message) + b"\n")
                for answer in self._answer(message):
                    self._channel.send(answer)

    def _answer(self, request: Generate) -> list[Message]:
        while self._orders.stands("engine-waits"):
            while message := self._channel.receive(wait=False):
                self._inbox.append(message)
            if Cancel(id=request.id) in self._inbox:
                return [Stopped(id=request.id)]
            time.sleep(POLL_S)
        if self._orders.take("engine-dies") is not None:
            os._exit(1)
        if (why := self._orders.take("engine-refuses")) is not None:
            return [Refused(id=request.id, text=why)]
        try:
            if request.model is not None:
                read_manifest(Path(request.model))
        except MockingbirdError as exc:
            return [Refused(id=request.id, text=str(exc))]
        said = self._orders.take("engine-says")
        texts = tuple(said.splitlines()) if said is not None else tuple(post(request, i) for i in range(request.count))
        drafts = [Delta(id=request.id, index=i, text=t) for i, t in enumerate(texts)] if request.stream else []
        return [*drafts, Completed(id=request.id, texts=texts, tokens=8 * len(texts), seconds=0.01, screened={})]


def post(request: Generate, index: int) -> str:
    """The prompt, and three words that depend on everything that was asked."""
    asked = f"{request.model}|{request.prompt}|{request.answers}|{request.seed}|{index}"
    words = [WORDS[byte % len(WORDS)] for byte in hashlib.sha256(asked.encode()).digest()[:3]]
    return " ".join(word for word in (request.prompt, *words, str(index)) if word)


def main() -> None:
    channel = Channel("engine")
    orders = Orders(Path(sys.argv[1]))
    orders.note_environment("engine")
    if (why := orders.take("engine-fails")) is not None:
        channel.fail(Unusable(why))
        raise SystemExit(1)
    channel.send(Ready(base=sys.argv[2], device="cpu", precision="fp32", parameters=1, seconds=0.0))
    QuickEngine(channel, orders).serve()


if __name__ == "__main__":
    main()
