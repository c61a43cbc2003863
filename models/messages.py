"""The protocol between the bot and its children: JSON lines, one message each, and nothing but the messages.

A child says `hello` first. A trainer's run ends with exactly one of `done`, `failed`, `cancelled`; its absence is a
crash. The engine says `ready` once and then answers each `generate` with any number of `delta` and exactly one of
`completed`, `refused`, `stopped`. An end of file on a child's stdin means that its parent is gone.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from models.errors import MessageError

PROTOCOL = 1
MAX_LINE_BYTES = 1 << 20

Phase = Literal["collect", "clean", "load", "train", "evaluate", "save"]


class Hello(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="hello", tag_field="type"):
    """Child to parent, first of all: who speaks which version."""

    role: str
    pid: int
    protocol: int = PROTOCOL


# --- trainer to bot ---------------------------------------------------------------------------------------------------


class Progress(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="progress", tag_field="type"):
    """Trainer: how far a phase is. `total` is None while unknown; `eta_s` is for the whole run."""

    phase: Phase
    done: int
    total: int | None = None
    eta_s: float | None = None
    loss: float | None = None  # nats per token, running mean
    bits_per_byte: float | None = None  # held-out, latest
    tokens_per_s: float | None = None


class Sample(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="sample", tag_field="type"):
    """Trainer: a post in the voice as it is now, at an evaluation."""

    step: int
    text: str


class Notice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="notice", tag_field="type"):
    """Trainer: something that the person who asked should know; the run goes on."""

    text: str


class Done(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="done", tag_field="type"):
    """Trainer: the stage is complete and its files are in the run folder."""


class Failed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="failed", tag_field="type"):
    """Trainer: the stage can't be completed. `text` is for the person who asked if `is_user_error`."""

    kind: str
    text: str
    is_user_error: bool


class Cancelled(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="cancelled", tag_field="type"):
    """Trainer: stopped because it was told to (SIGTERM)."""


# --- bot to engine ----------------------------------------------------------------------------------------------------


class Generate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="generate", tag_field="type"):
    """Bot to engine: a request. `model` is a model folder, or None for the bare base."""

    id: int
    model: str | None
    prompt: str = ""
    answers: tuple[str, ...] = ()  # what led up to it, oldest first; the last text is the one to reply to
    count: Annotated[int, Meta(ge=1, le=16)] = 1
    temperature: Annotated[float, Meta(ge=0, le=5)] = 0.9
    top_p: Annotated[float, Meta(gt=0, le=1)] = 0.95
    min_tokens: Annotated[int, Meta(ge=1, le=2048)] = 1
    max_tokens: Annotated[int, Meta(ge=1, le=2048)] = 96
    seed: int
    stream: bool = False


class Cancel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="cancel", tag_field="type"):
    """Bot to engine: the request is not wanted any more."""

    id: int


class Unload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="unload", tag_field="type"):
    """Bot to engine: these model folders are gone; drop them from memory. There is no answer."""

    models: tuple[str, ...]


# --- engine to bot ----------------------------------------------------------------------------------------------------


class Ready(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="ready", tag_field="type"):
    """Engine: the base is loaded, requests are taken."""

    base: str
    device: str
    precision: str
    parameters: int
    seconds: float


class Delta(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="delta", tag_field="type"):
    """Engine: the draft of candidate `index` grew by `text`. Drafts are not screened; `completed` is the answer."""

    id: int
    index: int
    text: str


class Completed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="completed", tag_field="type"):
    """Engine: the answer; each text is a whole post, prompt included. `screened` counts drafts left out, by reason."""

    id: int
    texts: tuple[str, ...]
    tokens: int
    seconds: float
    screened: dict[str, int]


class Refused(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="refused", tag_field="type"):
    """Engine: the request can't be answered; `text` is for the person who asked."""

    id: int
    text: str


class Stopped(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="stopped", tag_field="type"):
    """Engine: the request was cancelled."""

    id: int


TrainerMessage = Hello | Progress | Sample | Notice | Done | Failed | Cancelled
EngineMessage = Hello | Ready | Delta | Completed | Refused | Stopped | Failed
EngineRequest = Generate | Cancel | Unload
Message = TrainerMessage | EngineMessage | EngineRequest

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    """The message as one line of JSON, new line included."""
    return _encoder.encode(message) + b"\n"


def decode(line: bytes) -> Message:
    """The message on a line; MessageError if it is none of this protocol version."""
    try:
        message = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise MessageError(f"not a message: {exc}: {line[:200]!r}") from exc
    if isinstance(message, Hello) and message.protocol != PROTOCOL:
        raise MessageError(f"protocol version {message.protocol}, expected {PROTOCOL}")
    return message
