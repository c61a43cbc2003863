"""The protocol: one golden line for each message, and all that is refused as none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from models.errors import MessageError
from models.messages import (
    PROTOCOL,
    Cancel,
    Cancelled,
    Completed,
    Delta,
    Done,
    EngineMessage,
    EngineRequest,
    Failed,
    Generate,
    Hello,
    Message,
    Notice,
    Progress,
    Ready,
    Refused,
    Sample,
    Stopped,
    TrainerMessage,
    Unload,
    decode,
    encode,
)

GOLDEN = Path(__file__).parent / "golden"

MESSAGES: tuple[Message, ...] = (
    Hello(role="trainer", pid=4242),
    Progress(phase="train", done=20, total=80, eta_s=61.5, loss=4.25, bits_per_byte=1.75, tokens_per_s=1105.0),
    Sample(step=20, text="the kettle sang “again” 🎉\nand again"),
    Notice(text="12 posts could not be read"),
    Done(),
    Failed(kind="NoPosts", text="I found nothing to learn from @robin", is_user_error=True),
    Cancelled(),
    Generate(
        id=3,
        model="var/models/robin/1",
        prompt="My dream is",
        answers=("I dreamt of you", "what do you\nwant?"),
        count=4,
        temperature=0.5,
        top_p=0.75,
        min_tokens=4,
        max_tokens=64,
        seed=11,
        stream=True,
    ),
    Cancel(id=3),
    Unload(models=("var/models/robin/1", "var/models/robin/2")),
    Ready(base="builtin", device="cpu", precision="fp32", parameters=6_900_000, seconds=1.5),
    Delta(id=3, index=0, text=" a ké"),
    Completed(id=3, texts=("one", "two 🎉"), tokens=96, seconds=0.5, screened={"empty": 1, "said twice": 2}),
    Refused(id=3, text="This model's files are damaged, so I can't use it."),
    Stopped(id=3),
)


def tag(kind: type) -> str:
    return kind.__struct_config__.tag


def each_message() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("message", MESSAGES, ids=lambda message: tag(type(message)))


def test_every_message_class_has_one_golden_file() -> None:
    classes = {*get_args(TrainerMessage), *get_args(EngineMessage), *get_args(EngineRequest)}
    assert {type(message) for message in MESSAGES} == classes
    assert {path.name for path in GOLDEN.iterdir()} == {f"{tag(kind)}.json" for kind in classes}


@each_message()
def test_a_golden_file_leaves_no_field_out(message: Message) -> None:
    golden = json.loads((GOLDEN / f"{tag(type(message))}.json").read_text())
    assert set(golden) == {"type", *type(message).__struct_fields__}


@each_message()
def test_a_message_is_encoded_as_its_golden_line(message: Message) -> None:
    assert encode(message) == (GOLDEN / f"{tag(type(message))}.json").read_bytes()


@each_message()
def test_a_golden_line_is_decoded_as_its_message(message: Message) -> None:
    assert decode((GOLDEN / f"{tag(type(message))}.json").read_bytes()) == message


@each_message()
def test_a_message_is_one_line_only(message: Message) -> None:
    line = encode(message)
    assert line.endswith(b"\n") and line.count(b"\n") == 1 and b"\r" not in line


def test_line_breaks_of_every_kind_survive_within_the_line() -> None:
    text = "a\nb\r\nc\u2028d\u0085e\x0bf\x00"
    line = encode(Notice(text=text))
    assert line.count(b"\n") == 1
    assert decode(line) == Notice(text=text)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"type":"gossip","text":"x"}', id="unknown type"),
        pytest.param(b'{"text":"x"}', id="no type"),
        pytest.param(b'{"type":7,"text":"x"}', id="a type that is no text"),
        pytest.param(b'{"type":"notice","text":"x","loud":true}', id="unknown field"),
        pytest.param(b'{"type":"notice"}', id="missing field"),
        pytest.param(b'{"type":"notice","text":7}', id="wrong type"),
        pytest.param(b'{"type":"cancel","id":"3"}', id="a number as text"),
        pytest.param(b'{"type":"cancel","id":3.5}', id="a fraction"),
        pytest.param(b'{"type":"failed","kind":"x","text":"y","is_user_error":1}', id="a number as truth"),
        pytest.param(b'{"type":"progress","phase":"dream","done":1}', id="unknown phase"),
        pytest.param(b'{"type":"generate","id":1,"model":null,"seed":1,"count":0}', id="count too small"),
        pytest.param(b'{"type":"generate","id":1,"model":null,"seed":1,"count":17}', id="count too large"),
        pytest.param(b'{"type":"generate","id":1,"model":null,"seed":1,"temperature":-1}', id="temperature"),
        pytest.param(b'{"type":"generate","id":1,"model":null,"seed":1,"top_p":0}', id="top_p"),
        pytest.param(b'{"type":"generate","id":1,"model":null,"seed":1,"max_tokens":2049}', id="max_tokens"),
        pytest.param(b'["done"]', id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"Loading checkpoint shards: 100%", id="no JSON"),
        pytest.param(b'{"type":"done"', id="half a line"),
        pytest.param(b'{"type":"done"}{"type":"done"}', id="two messages"),
        pytest.param(b'{"type":"notice","text":"\xff\xfe"}', id="no UTF-8"),
        pytest.param(b'{"type":"notice","text":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="deep value"),
        pytest.param(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b',"type":"done"}', id="deep before the type"),
        pytest.param(b"[" * 100_000, id="deep and open"),
    ],
)
def test_what_is_no_message_is_a_message_error(line: bytes) -> None:
    with pytest.raises(MessageError, match="not a message"):
        decode(line)


def test_another_protocol_version_is_a_message_error() -> None:
    with pytest.raises(MessageError, match=f"protocol version {PROTOCOL + 1}, expected {PROTOCOL}"):
        decode(encode(Hello(role="trainer", pid=1, protocol=PROTOCOL + 1)))


def test_an_error_quotes_only_the_beginning_of_the_line() -> None:
    with pytest.raises(MessageError) as caught:
        decode(b"x" * 1_000_000)
    assert len(str(caught.value)) < 1000
