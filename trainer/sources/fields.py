"""The fields of tweet-like objects, under all the names that their producers gave them.

X's archive and API, snscrape, twscrape, twint and hand-made files: all that they call a field is in its tuple.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from models.records import Post

MAX_TIME_CHARS = 64

TEXT_KEYS = ("full_text", "rawContent", "text", "content", "tweet", "body")
ID_KEYS = ("id_str", "id", "tweet_id")
TIME_KEYS = ("created_at", "date", "timestamp")
REPLY_ID_KEYS = ("in_reply_to_status_id_str", "in_reply_to_status_id", "inReplyToTweetId")
RETWEET_FLAGS = ("is_retweet", "isRetweet", "retweet")  # not `retweeted`: it tells of the reader, and is always false
RETWEETED_POSTS = ("retweetedTweet", "retweeted_status")
AUTHOR_KEYS = ("screen_name", "username")
NAME_KEYS = ("displayname", "displayName", "name")

_SURROGATE = re.compile("[\ud800-\udfff]")
_SPREADSHEET_NUMBER = re.compile(r"\d[.,]\d+[eE]\+?\d+")  # 1.23E+18: what Excel leaves of an id
_SPACE_BEFORE_OFFSET = re.compile(r"\s+(?=[+-]\d\d:?\d\d\Z)")
_HANDLE = re.compile(r"[\w.@-]{1,100}\Z")


def as_text(value: object) -> str | None:
    """A string, or an integer as digits; None for anything else and for blank strings."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        return None
    # JSON may escape half a surrogate pair, which no UTF-8 file could hold afterwards.
    return _SURROGATE.sub("", value).strip() or None


def as_handle(value: object) -> str | None:
    """A handle without its @, or None if it can't be one."""
    handle = (as_text(value) or "").lstrip("@")
    return handle if _HANDLE.match(handle) else None


def same_handle(one: str, other: str) -> bool:
    """Whether two spellings mean the same account; platforms ignore case."""
    return one.lstrip("@").casefold() == other.lstrip("@").casefold()


def parse_time(value: object) -> datetime | None:
    """The aware UTC time in ISO or in Twitter's style (`Wed Oct 05 19:00:46 +0000 2022`); None if it is neither."""
    text = as_text(value) or ""
    if len(text) > MAX_TIME_CHARS:
        return None
    try:
        if text[:4].isdigit():
            when = datetime.fromisoformat(_SPACE_BEFORE_OFFSET.sub("", text.removesuffix(" UTC")))
        else:
            when = parsedate_to_datetime(text)  # strptime's %a and %b follow the locale, this does not
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def post_from(record: dict[str, Any], fallback_id: str) -> Post | None:
    """The post in a tweet-like object, None if it has no text. `fallback_id` serves where it names no usable id."""
    text = _first(record, TEXT_KEYS)
    if text is None:
        return None
    post_id = _first(record, ID_KEYS)
    if post_id is None or _SPREADSHEET_NUMBER.fullmatch(post_id):
        post_id = fallback_id
    answered = record.get("inReplyToUser")
    return Post(
        id=post_id,
        text=text,
        created_at=next((when for key in TIME_KEYS if (when := parse_time(record.get(key)))), None),
        is_retweet=_is_retweet(record, text),
        reply_to_id=_first(record, REPLY_ID_KEYS),
        reply_to_handle=as_handle(record.get("in_reply_to_screen_name"))
        or as_handle(answered.get("username") if isinstance(answered, dict) else answered),
        links=_links(record),
        lang=as_text(record.get("lang")),
    )


def author_of(record: dict[str, Any]) -> str | None:
    """The handle of who wrote it, if it tells."""
    user = record.get("user")
    for holder in (record, user if isinstance(user, dict) else {}):
        for key in AUTHOR_KEYS:
            if handle := as_handle(holder.get(key)):
                return handle
    return None


def name_of(record: dict[str, Any]) -> str | None:
    """The display name of who wrote it, if it tells."""
    user = record.get("user")
    return _first(user if isinstance(user, dict) else record, NAME_KEYS)


def _first(record: dict[str, Any], keys: Sequence[str]) -> str | None:
    return next((text for key in keys if (text := as_text(record.get(key)))), None)


def _is_retweet(record: dict[str, Any], text: str) -> bool:
    return (
        text.startswith("RT @")
        or any(str(record.get(key)).strip().casefold() in ("true", "t", "1", "yes") for key in RETWEET_FLAGS)
        or any(isinstance(record.get(key), dict) for key in RETWEETED_POSTS)
    )


def _links(record: dict[str, Any]) -> tuple[str, ...]:
    found: dict[str, None] = {}  # a set that keeps order
    for holder in (record.get("entities"), record.get("extended_entities")):
        for key in ("urls", "media"):
            entries = holder.get(key) if isinstance(holder, dict) else None
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, dict) and (url := as_text(entry.get("url"))):
                    found[url] = None
    return tuple(found)
