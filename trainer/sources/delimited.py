"""Rows of tables with a character between the cells: CSV, TSV and what spreadsheets make of them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import islice
from typing import TextIO

from models.errors import Unreadable
from trainer.sources.fields import TEXT_KEYS, columns_shown, known_key

MAX_ROW_CHARS = 1 << 20  # a post of X with all of its columns is about 3 KB
DELIMITERS = ",;\t|"
SAMPLE_LINES = 20
SENTIMENT140 = ("target", "ids", "date", "flag", "user", "text")  # its files have no header

_NEVER = "\x1f"  # stands between cells where there is one only: commas belong to its text
_EXCEL_HINT = re.compile(r'"?sep=([^\w\s"]|\t)"?\s*', re.IGNORECASE)


def delimited_rows(file: TextIO, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(number of its first line, cells by `known_key`) of each row; cells that are blank or of no known column are out.

    The header tells the delimiter. Without one it has to be Sentiment140's shape, or posts only, one a line. Cells
    that a row has too many are not looked at. Unreadable if there is no column for the text, or a row has no end.
    """
    sample = list(_sample(_Lines(file, name)))
    hint = _EXCEL_HINT.fullmatch(sample[0]) if sample else None
    columns, delimiter, has_header = _layout(sample[1 if hint else 0 :], hint[1] if hint else None, name)
    file.seek(0)
    lines = _Lines(file, name)
    for _ in range(bool(hint) + has_header):
        while not next(lines).strip():  # up to the next line that is not blank
            continue
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        number, lines.row_chars = lines.number + 1, 0
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            raise Unreadable(
                name,
                f"the row at line {number} has a cell of more than {csv.field_size_limit():,} characters. "
                'Is there a quote (") that is opened and never closed?',
            ) from exc
        row: dict[str, str] = {}
        for place, key in columns:
            if place < len(cells) and key not in row and cells[place] and not cells[place].isspace():
                row[key] = cells[place]
        yield number, row


class _Lines:
    """A file's lines with their ends; Unreadable once those of one row are longer than any row is."""

    def __init__(self, file: TextIO, name: str) -> None:
        self._file, self._name = file, name
        self.number = 0  # of the line that came last
        self.row_chars = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_ROW_CHARS + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self.row_chars += len(line)
        if self.row_chars > MAX_ROW_CHARS:
            raise Unreadable(
                self._name,
                f"the row that ends at line {self.number} is longer than {MAX_ROW_CHARS:,} characters. "
                "Put one post in each row.",
            )
        return line


def _sample(lines: _Lines) -> Iterator[str]:
    """The first lines, without those that are blank."""
    for line in islice(lines, SAMPLE_LINES):
        lines.row_chars = 0
        if line.strip():
            yield line


def _layout(sample: list[str], hinted: str | None, name: str) -> tuple[list[tuple[int, str]], str, bool]:
    """The columns that are known as (place, key), the delimiter, and whether there is a header."""
    if not sample:
        raise Unreadable(name, "it is empty. Attach a file with one post in each row.")
    headers = {delimiter: _cells(sample[0], delimiter) for delimiter in hinted or DELIMITERS}
    best = max(headers, key=lambda d: (any(known_key(cell) in TEXT_KEYS for cell in headers[d]), len(headers[d])))
    columns = [(place, key) for place, cell in enumerate(headers[best]) if (key := known_key(cell))]
    if any(key in TEXT_KEYS for _, key in columns):
        return columns, best if len(headers[best]) > 1 else _NEVER, True
    if all(_is_sentiment140(_cells(line, ",")) for line in sample[:1]):
        return list(enumerate(SENTIMENT140)), ",", False
    if name.lower().endswith(".txt") or all(len(_cells(line, d)) <= 1 for line in sample for d in headers):
        return [(0, "text")], _NEVER, False
    raise Unreadable(
        name,
        "it holds no column that I know for the text. Rename the column with the posts to “text”. "
        f"Its first line is: {columns_shown(headers[best])}.",
    )


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # a cell that is too long
        return []


def _is_sentiment140(cells: list[str]) -> bool:
    return len(cells) == len(SENTIMENT140) and cells[0] in ("0", "2", "4") and cells[1].isdecimal()
