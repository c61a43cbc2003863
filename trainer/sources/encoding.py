"""In which encoding a text file of unknown origin is written, told by its bytes."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import BinaryIO, Final, TextIO

from charset_normalizer import CharsetMatch, from_bytes

from models.errors import Unreadable

UTF_8: Final = "utf-8-sig"  # with or without a byte order mark
HEAD_BYTES = 4096
CHUNK_BYTES = 1 << 20
SAMPLE_BYTES = 32 << 10  # of lines with other than ASCII characters
MAX_BROKEN = 0.05  # of a UTF-8 file's characters outside ASCII: what was cut in the middle of an emoji

_LATIN = ["cp1252", "cp1250", "cp1254"]
_OTHERS = ["cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp874", "cp932", "euc_jp", "gb18030", "big5", "cp949"]
_MIN_IN_RUNS = 0.3  # of the bytes outside ASCII; accents stand alone, Cyrillic or Chinese letters side by side
_AS_GOOD = 0.05  # of charset-normalizer's measure of chaos, 0 to 1

_NO_TEXT = {  # how files of other kinds begin
    b"PK": "it is an Excel workbook or another ZIP file. Save the sheet as CSV (UTF-8) and attach that, or unpack it.",
    b"\xd0\xcf\x11\xe0": "it is an old Excel workbook. Save the sheet as CSV (UTF-8) and attach that.",
    b"\x1f\x8b": "it is packed with gzip. Unpack it and attach what is in it.",
    b"\x28\xb5\x2f\xfd": "it is packed with Zstandard. Unpack it and attach what is in it.",
    b"BZh": "it is packed with bzip2. Unpack it and attach what is in it.",
    b"%PDF": "it is a PDF. Attach the posts as a table instead, such as CSV.",
}
_MARKS = {  # UTF-32's little-endian mark begins with UTF-16's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: UTF_8,
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NOISE = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\ufffd]")
_MAX_NOISE = 0.05  # of a text's characters
_RUNS = re.compile(rb"[\x80-\xff]{2,}")


def text_encoding(path: Path) -> str:
    """The name of the file's encoding for `open`, most likely; Unreadable if it is empty, no text, or can't be opened.

    A byte order mark decides, then whether it is UTF-8 throughout, then the bytes outside ASCII of its first lines
    that have any: what no other encoding explains better is Windows-1252.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            if not head.strip():
                raise Unreadable(path.name, "it is empty. Attach a file with one post in each row.")
            for start, reason in _NO_TEXT.items():
                if head.startswith(start):
                    raise Unreadable(path.name, reason)
            file.seek(0)
            encoding = next((e for mark, e in _MARKS.items() if head.startswith(mark)), None)
            encoding = encoding or (_wide(head) if b"\0" in head else _narrow(file))
    except OSError as exc:
        raise cannot_open(path, exc) from exc
    text = head.decode(encoding or "ascii", "replace")
    if encoding is None or len(_NOISE.findall(text)) > _MAX_NOISE * len(text) + 1:  # one may be cut at the end
        raise Unreadable(path.name, "it holds no text. Save the posts as CSV in UTF-8, or as JSON, and attach that.")
    return encoding


def open_text(path: Path, encoding: str) -> TextIO:
    """The file for reading, with line ends as they are, and U+FFFD for what its encoding can't explain."""
    return path.open(encoding=encoding, errors="replace", newline="")


def cannot_open(path: Path, exc: OSError) -> Unreadable:
    """What to say when the system gives no access to a file."""
    return Unreadable(path.name, f"it can't be opened ({exc.strerror}). Attach it again.")


def _wide(head: bytes) -> str | None:
    """UTF-16 without a mark, if it is: every other byte of Latin letters, digits and commas is zero."""
    pairs = len(head) // 2
    first, second = head[0::2].count(0), head[1::2].count(0)
    if second > 0.3 * pairs and first <= 0.02 * pairs:
        return "utf-16-le"
    if first > 0.3 * pairs and second <= 0.02 * pairs:
        return "utf-16-be"
    return None


def _narrow(file: BinaryIO) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    good = broken = 0
    sample: list[bytes] = []
    sampled = 0
    while chunk := file.read(CHUNK_BYTES):
        text = decoder.decode(chunk)
        if text.isascii():
            continue
        broken += text.count("\ufffd")
        good += len(text) - len(text.encode("ascii", "ignore"))
        for line in chunk.split(b"\n") if sampled < SAMPLE_BYTES else ():
            if not line.isascii() and sampled < SAMPLE_BYTES:
                sample.append(line[:HEAD_BYTES])
                sampled += len(sample[-1])
    broken += decoder.decode(b"", final=True).count("\ufffd")
    return UTF_8 if broken <= MAX_BROKEN * good else _legacy(b"\n".join(sample))


def _legacy(sample: bytes) -> str:
    """Which encoding of before Unicode it is, most likely."""
    outside = sum(byte > 0x7F for byte in sample)
    in_runs = sum(map(len, _RUNS.findall(sample)))
    candidates = _LATIN if in_runs < _MIN_IN_RUNS * outside else [*_LATIN, *_OTHERS]
    matches = list(from_bytes(sample, cp_isolation=candidates))
    good = [match for match in matches if match.chaos <= matches[0].chaos + _AS_GOOD]
    # What reads most like a language and looks least odd; of equals, the most common is meant.
    best = max(good, key=lambda m: (m.coherence - m.chaos, _is_windows_1252(m)), default=None)
    return "cp1252" if best is None or _is_windows_1252(best) else best.encoding


def _is_windows_1252(match: CharsetMatch) -> bool:
    """Whether the sample reads the same in Windows-1252 as in the encoding that was found."""
    return "cp1252" in match.could_be_from_charset
