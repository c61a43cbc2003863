"""Archives that lie: about names, sizes and packing, and bombs."""

from __future__ import annotations

import gzip
import random
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.fuzzing.damage import broken_bytes
from tests.fakes.archives import packed_blanks, raw_zip

MIB = 1 << 20

# {} is the name that a member had.
NAMES = (
    *("../../../../etc/{}", "/etc/{}", "C:\\Windows\\{}", "..\\..\\{}", "a\0b/{}", "\n\x1b[31m\r/{}", "d/\u202e/{}"),
    *("x" * 3000 + "/{}", "data\\{}", "ｄａｔａ／{}", "data／{}", "{}/", "{}\0.png", "{} ", "{}\n", "CON/{}", "./{}"),
)
_NUMBERS = (0, 1, 2, 8, 12, 99, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
_ZIP_HEADERS = ((b"PK\x03\x04", 30), (b"PK\x01\x02", 46), (b"PK\x01\x02", 46), (b"PK\x05\x06", 22))  # and their bytes
_TAR_FIELDS = (0, 100, 124, 136, 148, 156, 157, 257, 345, 386, 483)  # where they begin
_TAR_LIES = (b"\xff" * 12, b"\x80" + b"\xff" * 11, b"77777777777\0", b"-1\0", b"\0" * 12, b"L", b"x", b"S", b"g")


def broken_archive(rng: random.Random, packed: bytes) -> bytes:
    """A ZIP or tar.gz with lies in its headers, or damage in its blocks."""
    if packed.startswith(b"\x1f\x8b"):
        tar = bytearray(gzip.decompress(packed))
        for _ in range(rng.randint(1, 4)):
            header = rng.randrange(len(tar) // 512) * 512 if rng.random() < 0.3 else 0
            at = header + rng.choice(_TAR_FIELDS)
            lie = rng.choice(_TAR_LIES)
            tar[at : at + len(lie)] = lie
            if rng.random() < 0.8:  # with a right checksum, so that the lie is believed
                block = tar[header : header + 512]
                block[148:156] = b" " * 8
                tar[header + 148 : header + 156] = b"%06o\0 " % sum(block)
        packed = gzip.compress(bytes(tar), 1, mtime=0)
        return broken_bytes(rng, packed) if rng.random() < 0.2 else packed
    lying = bytearray(packed)
    for _ in range(rng.randint(1, 3)):
        signature, length = rng.choice(_ZIP_HEADERS)
        found = [at for at in range(len(lying)) if lying.startswith(signature, at)] if len(lying) < MIB else []
        if not found:
            break
        at = rng.choice(found) + rng.randrange(4, length - 1, 2)
        number = rng.choice((*_NUMBERS, rng.randrange(1 << 32)))
        lie = struct.pack("<L", number)[: rng.choice((2, 4))]
        lying[at : at + len(lie)] = lie
    return broken_bytes(rng, bytes(lying)) if rng.random() < 0.2 else bytes(lying)


def bomb(rng: random.Random) -> bytes:
    """A small file that unpacks to a lot, or a large one that takes much more room when it is read."""
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: _zip_of("data/tweets.js", rng.choice((40, 300, 3000))),
        lambda: _zip_of(rng.choice(("outbox.json", "data/account.js", "tweets.csv")), rng.choice((12, 45))),
        lambda: _zip_of("data/tweets.js", 45, times=rng.choice((2, 100, 60_000))),
        lambda: gzip.compress(b"\0" * 512 + b"a" * (20 * MIB), 9, mtime=0),
        lambda: gzip.compress(b"outbox.json".ljust(100, b"\0") + b"1" * (60 * MIB), 9, mtime=0),
        lambda: b"[" + b"{}," * (300 << 10) + b"{}]",
        lambda: b'{"data": [' + b"[]," * MIB + b"{}]}",
        lambda: b'[{"text": [' + b"[]," * (2 * MIB) + b"1]}]",
        lambda: b'{"text": "' + b"a" * (15 * MIB) + b'"}\n',
        lambda: b'{"orderedItems": [' + b" " * (8 * MIB) + b"]}",
        lambda: b"window.YTD.tweets.part0 = [" + b'{"full_text": "x"},' * 100_000 + b"]",
        lambda: b"text\n" + b'"' + b"a,\n" * MIB,
        lambda: b"text\n" + b"," * (2 * MIB),
        lambda: b"text" + b",a" * (400 << 10) + b"\n" + b"x,\n" * 1000,
        lambda: b"\xe4\xf6\xfc \xff" * MIB,
    )
    return rng.choice(kinds)()


def _zip_of(name: str, megabytes: int, *, times: int = 1) -> bytes:
    """A ZIP of one member of so many megabytes, whose sizes are right; its directory names it so many times over."""
    packed = packed_blanks(megabytes)
    size = len(b"window.YTD.tweets.part0 = []") + megabytes * MIB
    with tempfile.TemporaryDirectory() as folder:
        return raw_zip(Path(folder) / "bomb.zip", name, packed, size=size, times=times).read_bytes()
