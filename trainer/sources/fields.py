"""The fields of tweet-like objects, under all the names that their producers gave them.

X's archive and API, snscrape, twscrape, twint and hand-made files: all that they call a field is in its tuple.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from models.records import Post

MAX_TIME_CHARS = 64
MAX_ID_CHARS = 200  # ids are held in memory; the longest, ActivityPub's, are URLs
MAX_NAME_CHARS = 200  # the longest display names that platforms allow have a few dozen
MAX_LANGUAGE_CHARS = 35  # of a tag, RFC 5646 §4.4.1

TEXT_KEYS = (
    *("full_text", "rawContent", "text", "content", "tweet", "body"),
    *("tweet_text", "tweet_content", "post_text", "post_content", "post", "message", "renderedContent"),
)
ID_KEYS = ("id_str", "tweet_id", "id", "twitter_id", "status_id", "post_id", "ids")
TIME_KEYS = ("created_at", "tweet_created_at", "date", "datetime", "timestamp", "published_at", "posted_at", "time")
REPLY_ID_KEYS = (
    *("in_reply_to_status_id_str", "in_reply_to_status_id", "inReplyToTweetId", "in_reply_to_id"),
    *("reply_to_status_id", "reply_to_id", "referenced_tweets_replied_to_id"),
)
REPLY_HANDLE_KEYS = (
    *("in_reply_to_screen_name", "inReplyToUser", "in_reply_to_username", "in_reply_to_handle"),
    *("reply_to_screen_name", "reply_to_username", "reply_to_handle"),
)
ANSWERED_KEYS = ("in_reply_to_text", "reply_to_text", "replied_to_text", "parent_text", "answers")
TYPE_KEYS = ("tweet_type", "type", "post_type")  # retweet, reply, …
DELETED_FLAGS = ("is_deleted", "isDeleted")
RETWEET_FLAGS = ("is_retweet", "isRetweet", "retweet")  # not `retweeted`: it tells of the reader, and is always false
RETWEETED_IDS = (
    *("retweeted_status_id", "retweeted_status_id_str", "retweet_id", "user_rt", "user_rt_id"),
    *("retweeted_username", "referenced_tweets_retweeted_id"),
)
RETWEETED_POSTS = ("retweetedTweet", "retweeted_status")
# API v2, new name first, and the old streaming API: all of a long post, of which `text` is the beginning.
NOTE_KEYS = ("note_post", "note_tweet", "extended_tweet")
REFERENCE_KEYS = ("referenced_posts", "referenced_tweets")  # API v2: what a post retweets, answers or quotes
AUTHOR_KEYS = (
    *("screen_name", "username", "user_screen_name", "user_username", "author_username", "author_screen_name"),
    *("user_handle", "author_handle", "twitter_handle", "handle", "from_user", "author", "user"),
)
AUTHOR_ID_KEYS = ("author_id", "user_id_str", "user_id")
NAME_KEYS = ("displayname", "displayName", "name", "user_name", "author_name")
LANGUAGE_KEYS = ("lang", "language")

_SHOWN_COLUMNS = 10
_COLUMN_CHARS = 25
_KNOWN_KEYS = (
    *(*TEXT_KEYS, *ID_KEYS, *TIME_KEYS, *REPLY_ID_KEYS, *REPLY_HANDLE_KEYS, *ANSWERED_KEYS, *TYPE_KEYS, *DELETED_FLAGS),
    *(*RETWEET_FLAGS, *RETWEETED_IDS, *RETWEETED_POSTS, *NOTE_KEYS, *REFERENCE_KEYS, *AUTHOR_KEYS, *AUTHOR_ID_KEYS),
    *(*NAME_KEYS, *LANGUAGE_KEYS, "timezone", "reply_to"),
)
_NO_LETTERS = re.compile(r"[\W_]+")
_BY_LETTERS = {_NO_LETTERS.sub("", key).casefold(): key for key in reversed(_KNOWN_KEYS)}  # of two, the first wins
_TRUE = ("true", "t", "1", "1.0", "yes")
_NOTHING = ("", "none", "nan", "null", "na", "n/a", "<na>", "false", "0", "0.0", "-1", "[]", "{}")  # pandas and others

_SURROGATE = re.compile("[\ud800-\udfff]")
# Control characters, line ends, and what turns the direction of all that follows.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SPREADSHEET_NUMBER = re.compile(r"\d[.,]\d+[eE]\+?\d+")  # 1.23E+18: what Excel leaves of an id
_SPACE_BEFORE_OFFSET = re.compile(r"\s+(?=[+-]\d\d:?\d\d\Z)")
# As Mastodon's and Bluesky's people write it into a bio; #noaiart and the like are about something else.
_OPT_OUT_TAG = re.compile(
    r"(?<!\w)#no[_-]?"
    r"(?:bots?|(?:gen(?:erative)?[_-]?)?ai(?:[_-]?(?:train(?:ing)?|learning|scraping|use))?"
    r"|llms?|scrap(?:e|ing|ers?))(?!\w)",
    re.IGNORECASE,
)
_QUOTED_ID = re.compile(r"""=?(['"])(.*?)\1?""")  # '123' and ="123" keep a spreadsheet from making a number of it
_EPOCH = re.compile(r"(\d{10})(?:\d{3})?")  # seconds, or milliseconds, since 1970
_OFFSET = re.compile(r"[+-]\d\d:?\d\d")
_MENTION = re.compile(r"@(\w{1,30})")
_HANDLE = re.compile(r"[\w.@-]{1,100}\Z")


def known_key(column: str) -> str | None:
    """The name under which this file knows a column, whatever its case, spaces, dashes, dots and underscores."""
    return _BY_LETTERS.get(_NO_LETTERS.sub("", column[:100]).casefold())


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


def as_id(value: object) -> str | None:
    """An id, or None if it is too long for one."""
    text = as_text(value)
    return text if text and len(text) <= MAX_ID_CHARS else None


def as_language(value: object) -> str | None:
    """A language's tag as it came, or None if it is too long for one."""
    text = as_text(value)
    return text if text and len(text) <= MAX_LANGUAGE_CHARS else None


def one_line(text: str, limit: int) -> str:
    """A stranger's text as a name, or in an error: in one line, without control characters, cut at `limit`."""
    return " ".join(_UNSHOWN.sub(" ", text[: 2 * limit]).split())[:limit]


def columns_shown(names: Iterable[str]) -> str:
    """The first names of a table's columns, for an error; strangers wrote them, so each is cut and made one line."""
    shown = [name for text in names if (name := one_line(text, _COLUMN_CHARS))]
    more = f" and {len(shown) - _SHOWN_COLUMNS} more" if len(shown) > _SHOWN_COLUMNS else ""
    return ", ".join(shown[:_SHOWN_COLUMNS]) + more


def same_handle(one: str, other: str) -> bool:
    """Whether two spellings mean the same account; platforms ignore case."""
    return one.lstrip("@").casefold() == other.lstrip("@").casefold()


def opt_out_tag(text: str) -> str | None:
    """The first hashtag in a bio that says no to bots or AI (#nobot, #NoAI, #no_ai_training …); None if none does."""
    found = _OPT_OUT_TAG.search(unicodedata.normalize("NFKC", text))
    return found[0] if found else None


def owner_trouble(
    owners: Sequence[str], asked: str | None, *, is_asked: Callable[[str, str], bool] = same_handle
) -> str | None:
    """Why an archive of these owners is not the one that was asked for, as the end of a sentence; None if it is."""
    for owner in owners:
        if not same_handle(owner, owners[0]):
            return f"these are archives of several accounts, @{owners[0]} and @{owner}. Attach the parts of one only."
        if asked is not None and not is_asked(owner, asked):
            wanted = asked.lstrip("@")
            return f"it is the archive of @{owner}, not of @{wanted}. Ask for @{owner}, or attach that of @{wanted}."
    return None


def parse_time(value: object) -> datetime | None:
    """The aware UTC time in ISO, in Twitter's style (`Wed Oct 05 19:00:46 +0000 2022`) or since 1970; else None."""
    text = as_text(value)
    if text is None or len(text) > MAX_TIME_CHARS:
        return None
    try:
        if epoch := _EPOCH.fullmatch(text):
            return datetime.fromtimestamp(int(epoch[1]), UTC)
        if text[:4].isdigit():
            when = datetime.fromisoformat(_SPACE_BEFORE_OFFSET.sub("", text.removesuffix(" UTC")))
        else:
            when = parsedate_to_datetime(text)  # strptime's %a and %b follow the locale, this does not
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def post_from(record: dict[str, Any], fallback_id: str) -> Post | None:
    """The post in a tweet-like object, None if it has no text or is deleted.

    `fallback_id` serves where it names no usable id.
    """
    note = next((value for key in NOTE_KEYS if isinstance(value := record.get(key), dict) and _text_of(value)), None)
    text = _text_of(note) if note else _first(record, TEXT_KEYS)
    if text is None or _has_flag(record, DELETED_FLAGS):
        return None
    references = _references(record)
    return Post(
        id=_id(record, ID_KEYS) or fallback_id,
        text=text,
        created_at=_time(record),
        is_retweet=_is_retweet(record, _first(record, TEXT_KEYS) or text) or "retweeted" in references,
        reply_to_id=_id(record, REPLY_ID_KEYS) or references.get("replied_to"),
        reply_to_handle=_answered_handle(record, text),
        answers=_answered_text(record),
        links=_links(note or record),
        lang=next((tag for key in LANGUAGE_KEYS if (tag := as_language(record.get(key)))), None),
    )


def author_of(record: dict[str, Any]) -> str | None:
    """The handle of who wrote it, if it tells."""
    for holder in (record, *_people(record)):
        for key in AUTHOR_KEYS:
            if handle := as_handle(holder.get(key)):
                return handle
    return None


def author_id_of(record: dict[str, Any]) -> str | None:
    """The number of who wrote it, if it tells."""
    return _id(record, AUTHOR_ID_KEYS)


def name_of(record: dict[str, Any]) -> str | None:
    """The display name of who wrote it, if it tells."""
    found = (_first(holder, NAME_KEYS) or "" for holder in (*_people(record), record))
    return next((name for text in found if (name := one_line(text, MAX_NAME_CHARS))), None)


def _people(record: dict[str, Any]) -> list[dict[str, Any]]:
    return [value for key in ("user", "author") if isinstance(value := record.get(key), dict)]


def _first(record: dict[str, Any], keys: Sequence[str]) -> str | None:
    return next((text for key in keys if (text := as_text(record.get(key)))), None)


def _text_of(note: dict[str, Any]) -> str | None:
    return _first(note, ("full_text", "text"))


def _has_flag(record: dict[str, Any], keys: Sequence[str]) -> bool:
    return any(record.get(key) is True or _says(record.get(key)) in _TRUE for key in keys)


def _says(value: object) -> str:
    """A cell's word, if it is one, for comparing."""
    return (as_text(value) or "").casefold()


def _id(record: dict[str, Any], keys: Sequence[str]) -> str | None:
    """The first usable id, as text; what a spreadsheet has made a rounded number of is none."""
    for key in keys:
        found = as_text(record.get(key)) or ""
        if quoted := _QUOTED_ID.fullmatch(found):
            found = quoted[2].strip()
        if len(found) <= MAX_ID_CHARS and found.casefold() not in _NOTHING and not _SPREADSHEET_NUMBER.fullmatch(found):
            return found
    return None


def _time(record: dict[str, Any]) -> datetime | None:
    for key in TIME_KEYS:
        value = record.get(key)
        if key == "date" and isinstance(value, str) and len(value) == 10:  # twint: the time is in a column of its own
            zone = _says(record.get("timezone"))
            value = f"{value} {_says(record.get('time'))}{zone if _OFFSET.fullmatch(zone) else ''}"
        if when := parse_time(value) or parse_time(record.get(key)):
            return when
    return None


def _answered_handle(record: dict[str, Any], text: str) -> str | None:
    """Whom the post answers, if it tells; where it only tells that it is an answer, whom it addresses first."""
    for key in REPLY_HANDLE_KEYS:
        value = record.get(key)
        handle = as_handle(value.get("username") if isinstance(value, dict) else value)
        if handle and handle.casefold() not in _NOTHING:
            return handle
    if handle := _mentioned(record, as_text(record.get("in_reply_to_user_id"))):
        return handle
    people = record.get("reply_to")  # twint's: a list, or how Python writes one
    is_reply = bool(people) if isinstance(people, list) else _says(people) not in _NOTHING
    is_reply = is_reply or any(_says(record.get(key)) == "reply" for key in TYPE_KEYS)
    mention = _MENTION.match(text) if is_reply else None
    return mention[1] if mention else None


def _answered_text(record: dict[str, Any]) -> str | None:
    """What the post answers, if the record holds that too."""
    for key in ANSWERED_KEYS:
        if isinstance(value := record.get(key), str) and (text := as_text(value)):
            return None if text.casefold() in _NOTHING else text
    references = next((value for key in REFERENCE_KEYS if isinstance(value := record.get(key), list)), [])
    for post in references:  # flattened by twarc2
        if isinstance(post, dict) and post.get("type") == "replied_to":
            note = next((value for key in NOTE_KEYS if isinstance(value := post.get(key), dict)), {})
            return _text_of(note) or _text_of(post)
    return None


def _references(record: dict[str, Any]) -> dict[str, str | None]:
    """What kinds of reference a v2 post holds (retweeted, replied_to, quoted), and to which post."""
    found = next((value for key in REFERENCE_KEYS if isinstance(value := record.get(key), list)), [])
    return {kind: as_id(r.get("id")) for r in found if isinstance(r, dict) and (kind := as_text(r.get("type")))}


def _mentioned(record: dict[str, Any], user_id: str | None) -> str | None:
    """The handle of the user of that id, if a v2 post mentions them; answers mention whom they answer."""
    entities = record.get("entities")
    mentions = entities.get("mentions") if isinstance(entities, dict) else None
    for mention in mentions if isinstance(mentions, list) and user_id else ():
        if isinstance(mention, dict) and as_text(mention.get("id")) == user_id:
            return as_handle(mention.get("username"))
    return None


def _is_retweet(record: dict[str, Any], text: str) -> bool:
    return (
        text.startswith("RT @")
        or _has_flag(record, RETWEET_FLAGS)
        or any(_says(record.get(key)) in ("retweet", "repost") for key in TYPE_KEYS)
        or any(_says(record.get(key)) not in _NOTHING for key in RETWEETED_IDS)
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
    links = record.get("links")
    for link in links if isinstance(links, list) else ():  # snscrape, twscrape
        if isinstance(link, dict) and (url := as_text(link.get("tcourl"))):
            found[url] = None
    return tuple(found)
