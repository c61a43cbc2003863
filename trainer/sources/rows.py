"""The records of a file of posts, whatever it is: JSON lines, a JSON list, an API's answers, or a delimited table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, Final, TextIO

from models.errors import Unreadable
from trainer.sources.delimited import delimited_rows
from trainer.sources.encoding import cannot_open, open_text
from trainer.sources.fields import REFERENCE_KEYS, TEXT_KEYS, as_text, known_key
from trainer.sources.json_stream import entries

Record = dict[str, Any]

MAX_OBJECT_CHARS = 8 << 20  # an API's page of 500 posts is about 3 MB; in memory, JSON can take 50 times its length
CHUNK_CHARS = 256 << 10
LISTS: Final = ("data", "posts", "tweets", "statuses", "tweet")  # where an object that is no post holds some

_EXAMPLE = 'such as {"id": "1", "text": "Hello"}'


def rows(path: Path, encoding: str) -> Iterator[tuple[str, Record]]:
    """(where it stands, its fields) of each record; fields have the names of `fields.py` where that knows them.

    What it is, the content says. A blank line is a record without fields. Unreadable names the line or the entry.
    """
    try:
        with open_text(path, encoding) as file:
            head = file.read(CHUNK_CHARS).lstrip("\ufeff \t\r\n")
            file.seek(0)
            if head.startswith("["):
                yield from _numbered(_listed(_chunks(file), path.name))
            elif not head.startswith("{"):
                for number, cells in delimited_rows(file, path.name):
                    yield str(number), dict(cells)
            elif file.readline(MAX_OBJECT_CHARS + 1).rstrip().endswith("}") or "\n" not in head:
                file.seek(0)
                yield from _numbered(_lines(file, path.name))
            else:  # objects over several lines, one or one after the other
                file.seek(0)
                yield from _numbered(_listed(chain(["["], _chunks(file), ["]"]), path.name))
    except OSError as exc:
        raise cannot_open(path, exc) from exc


def _chunks(file: TextIO) -> Iterator[str]:
    for number, chunk in enumerate(iter(partial(file.read, CHUNK_CHARS), "")):
        yield chunk.removeprefix("\ufeff") if number == 0 else chunk


def _listed(texts: Iterator[str], name: str) -> Iterator[tuple[int, Record]]:
    for number, entry in enumerate(entries(texts, name, MAX_OBJECT_CHARS), 1):
        if not isinstance(entry, dict):
            raise Unreadable(name, f"entry {number} of its list is not a JSON object {_EXAMPLE}.")
        yield number, entry


def _lines(file: TextIO, name: str) -> Iterator[tuple[int, Record]]:
    number = 0
    while line := file.readline(MAX_OBJECT_CHARS + 1):
        number += 1
        if len(line) > MAX_OBJECT_CHARS:
            raise Unreadable(
                name, f"line {number} is longer than {MAX_OBJECT_CHARS >> 20} MB. Put one post on each line."
            )
        yield number, _object(line, number, name)


def _object(line: str, number: int, name: str) -> Record:
    line = line.strip("\ufeff \t\r\n")
    try:
        record = json.loads(line) if line else {}
    except (ValueError, RecursionError) as exc:
        raise Unreadable(
            name, f"line {number} is not valid JSON. Each line has to be one whole post, {_EXAMPLE}."
        ) from exc
    if not isinstance(record, dict):
        raise Unreadable(name, f"line {number} is not a JSON object {_EXAMPLE}.")
    return record


def _numbered(objects: Iterator[tuple[int, Record]]) -> Iterator[tuple[str, Record]]:
    for number, found in objects:
        page = _page(found)
        if page is None:
            yield str(number), _named(found)
        else:
            for place, post in enumerate(page, 1):
                yield f"{number}#{place}", _named(post)


def _page(found: Record) -> Iterator[Record] | None:
    """The posts in an object that holds several, each with its author and what it answers; None if it is a post."""
    if any(isinstance(found.get(key), str) for key in TEXT_KEYS):
        return None
    held = next((value for key in LISTS if isinstance(value := found.get(key), list | dict)), None)
    if held is None:
        return None
    includes = found.get("includes")
    includes = includes if isinstance(includes, dict) else {}
    people = _by_id(includes.get("users"))
    answered = _by_id(includes.get("posts")) | _by_id(includes.get("tweets"))
    posts = held if isinstance(held, list) else [held]
    return (_flattened(post, people, answered) for post in posts if isinstance(post, dict))


def _flattened(post: Record, people: dict[str, Record], answered: dict[str, Record]) -> Record:
    """The post as `twarc2 flatten` writes it: with what it points at in place of the pointers."""
    author = people.get(as_text(post.get("author_id")) or "")
    if author is not None:
        post = {"author": author} | post
    for key in REFERENCE_KEYS:
        references = post.get(key)
        if isinstance(references, list):
            whole = [answered.get(as_text(r.get("id")) or "", {}) | r for r in references if isinstance(r, dict)]
            post = post | {key: whole}
    return post


def _by_id(records: object) -> dict[str, Record]:
    listed = records if isinstance(records, list) else ()
    return {str(r["id"]): r for r in listed if isinstance(r, dict) and isinstance(r.get("id"), str | int)}


def _named(record: Record) -> Record:
    named: Record = {}
    for key, value in record.items():
        known = _known(key) if len(key) <= 100 else None
        if known is None or known == key:
            named[key] = value  # the name itself, before others that are like it
        else:
            named.setdefault(known, value)
    return named


_known = lru_cache(maxsize=4096)(known_key)
