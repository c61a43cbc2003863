"""Damage to bytes and to JSON, by a random generator of its own seed."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Collection, Iterator
from typing import Any

from benchmarks.fuzzing.texts import ADDRESSES, TIMES, hostile_text
from trainer.sources import fields

MAX_COPIES = 400  # of a repeated block

_PIECES = (
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xf0\x9f\x91", b"\r", b"\r\n", b"\x1a", b"\x1f"),
    *(b'"', b"'", b",", b";", b"\t", b"[", b"]", b"{", b"}", b"\\", b"\\u0000", b"\\ud800", b"=", b":", b"<", b">"),
    *(b"&#" + b"1" * 5000 + b";", b"9" * 5000, b"1e99999", b"-", b"NaN", b"Infinity", b"[" * 3000, b'{"a":' * 3000),
    *(b"sep=\0\n", b"\x1b[31m", "\u202e\u2066".encode(), b"PK\x03\x04", b"\x1f\x8b", b"window.YTD.tweets.part0 = "),
)
_NUMBERS = ("1" * 5000, "-" + "9" * 4300, "1e999999", "1" * 400 + ".5", "NaN", "-Infinity", "1E+400", "-0", "0.1e-999")
_LEVELS = (10, 60, 70, 200, 300, 490, 700, 900, 980, 2000, 100_000)  # Python's stack has 1,000
_SIMPLE = (None, True, False, 0, -1, 1e308, 10**18, 1 << 63, "", " ", [], {}, [None], {"a": 1}, [[]])
_KEYS = (
    *(*fields.TEXT_KEYS, *fields.ID_KEYS, *fields.TIME_KEYS, *fields.AUTHOR_KEYS, *fields.NOTE_KEYS),
    *("tweet", "data", "posts", "includes", "entities", "object", "type", "referenced_tweets", "meta", "id"),
)


def damaged(rng: random.Random, data: bytes) -> bytes:
    """The data with something wrong in its JSON, if it is some, or else in its bytes."""
    if rng.random() < 0.65:
        try:
            return broken_json(rng, data.decode()).encode("utf-8", "surrogatepass")
        except (ValueError, RecursionError):
            pass
    return broken_bytes(rng, data)


def broken_bytes(rng: random.Random, data: bytes) -> bytes:
    """The data with bytes changed, taken out, repeated, or put in."""
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + int(rng.expovariate(1 / 40)))
    match rng.randrange(11):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[end:]
        case 2:
            return data[:at] + rng.randbytes(end - at + 1) + data[end:]
        case 3:
            return data[:at] + data[at:end] * rng.randrange(MAX_COPIES) + data[end:]
        case 4:
            flipped = bytearray(data or b"\0")
            for _ in range(rng.randint(1, 20)):
                flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
            return bytes(flipped)
        case 5:
            return rng.randbytes(rng.randrange(600))
        case 6:
            return data.replace(b"\n", rng.choice((b"\r", b"\r\n", b"\0\n", b"\n\n", b"\x0b")))
        case 7:
            try:
                return data.decode().encode(rng.choice(("utf-16", "utf-16-be", "utf-32", "utf-7", "cp1251", "gb18030")))
            except ValueError:
                return data[::-1]
        case 8:
            return gzip.compress(data, 1, mtime=0)
        case 9:
            text = hostile_text(rng).encode("utf-8", "surrogatepass")
            return data[:at] + text + data[at:]
        case _:
            return data[:at] + rng.choice(_PIECES) + data[at:]


def broken_json(rng: random.Random, text: str) -> str:
    """The text with wrong values in its JSON, which may follow a `something =`. ValueError if it holds none."""
    first = min((at for at in (text.find("["), text.find("{")) if at >= 0), default=-1)
    if first < 0:
        raise ValueError("no JSON")
    lines = text.splitlines()
    if first == 0 and len(lines) > 1 and lines[1][:1] == "{":  # JSON lines
        at = rng.randrange(len(lines))
        lines[at] = broken_value(rng, json.loads(lines[at]))
        return "\n".join(lines)
    return text[:first] + broken_value(rng, json.loads(text[first:]))


def broken_value(rng: random.Random, value: Any) -> str:
    """The JSON of a value with one to three wrong things at places anywhere in it."""
    raw: dict[str, str] = {}
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(value))
        if not places:
            value = _hostile_value(rng, value, raw)
            continue
        holder, key = rng.choice(places)
        match rng.randrange(8):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[rng.choice(_KEYS)] = holder[key]
            case 2 if isinstance(holder, dict):
                holder[hostile_text(rng)[:2000]] = holder.pop(key)
            case 3 if isinstance(holder, list):
                holder[key : key + 1] = [holder[key]] * rng.randrange(20)
            case 4:
                other, other_key = rng.choice(places)
                holder[key] = json.loads(json.dumps(other[other_key])) if other_key in _keys(other) else None
            case _:
                holder[key] = _hostile_value(rng, holder[key], raw)
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    for mark, meant in raw.items():
        text = text.replace(f'"{mark}"', meant)
    return text


def _hostile_value(rng: random.Random, value: object, raw: dict[str, str]) -> object:
    """A value that is wrong in place of another; `raw` takes what only JSON's text can say."""
    match rng.randrange(10):
        case 0:
            return rng.choice(_SIMPLE)
        case 1:
            return [value] * rng.randrange(5)
        case 2:
            return {rng.choice(_KEYS): value}
        case 3:
            mark = f"raw{len(raw)}"
            levels = rng.choice(_LEVELS)
            nested = rng.choice(("[" * levels + "]" * levels, '{"id":' * levels + "1" + "}" * levels))
            raw[mark] = rng.choice((*_NUMBERS, nested, nested))
            return mark
        case 4:
            return rng.choice(TIMES)
        case 5:
            return rng.choice(ADDRESSES)
        case 6:
            return rng.choice(_KEYS)
        case _:
            return hostile_text(rng)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(holder, key) of everything in a JSON value."""
    stack = [value]
    while stack:
        holder = stack.pop()
        for key in _keys(holder):
            yield holder, key
            stack.append(holder[key])


def _keys(holder: object) -> Collection[Any]:
    if isinstance(holder, dict):
        return list(holder)
    return range(len(holder)) if isinstance(holder, list) else ()
