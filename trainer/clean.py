"""Cleaning: raw posts -> the texts that a model learns, counted as huggingtweets counts them.

Pure functions. What differs from huggingtweets (huggingtweets-demo.ipynb: `fix_text`, `clean_tweet`, `boring_tweet`):
links are known from the post and don't take glued Japanese or Chinese text with them, the automatic @names before a
reply go, line breaks stay, and languages written without spaces are not thrown away for having no words.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable

import regex

from models.errors import NoPosts
from models.records import Counts, DatasetRow, Post, Profile

MIN_WORDS = 3  # huggingtweets' `boring_tweet`
LETTERS_PER_WORD = 2  # in scripts written without spaces

_LINK_MARK = "\x00"  # stands where a known link stood; no other control character is looked at before it is gone
_NO_SPACES = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー"
# huggingtweets: http:\S+. A URL ends before a script that is glued to it, and before East Asian punctuation too.
_LINK = rf"(?:\x00|(?i:https?:)[^\s\x00{_NO_SPACES}\p{{Hangul}}\u3000-\u303f\uff00-\uffef]++)"
_LINK_LINE = regex.compile(rf"\n(?:{_LINK}\x20?)++(?=\n|\Z)")  # possessive: links in a row can be split in many ways
_LINKS = regex.compile(rf"\x20?{_LINK}")
_REPLY_PREFIX = regex.compile(r"(?:@\w{1,15}\s+)+", regex.ASCII)
_NEWLINES = regex.compile(r"\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
# Kept on purpose: ZWJ and VS16 (emoji), ZWNJ (Persian, Indic scripts).
_INVISIBLE = regex.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# Not after another @: @name@server is a Mastodon handle. ASCII, so that glued text stays; bounded, so that time is.
_EMAIL = regex.compile(
    r"(?<![A-Za-z0-9._%+@-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+"
)
_SPECIAL_TOKEN = regex.compile(r"<\|[^<>|\n]{1,40}\|>")
_SPECIAL_START = regex.compile(r"<\|+")
_BLANKS = regex.compile(r"[^\S\n]+")
_LINE_ENDS = regex.compile(r"\x20?\n\x20?")
_MANY_LINES = regex.compile(r"\n{3,}")
_TAGS = regex.compile(r"[@\uff20][A-Za-z0-9_]+|[#\uff03]\w+|https?:[!-~]*")  # full-width @ and # too
_DENSE_LETTER = regex.compile(rf"(?V1)[[{_NO_SPACES}]&&\p{{L}}]")


def clean_text(post: Post) -> str:
    """The post's own words: no links, no HTML escapes, no automatic @names, nothing that a model takes for a token."""
    text = _NEWLINES.sub("\n", post.text)
    for link in sorted(filter(None, post.links), key=len, reverse=True):  # one may be the beginning of another
        text = text.replace(link, _LINK_MARK)
    text = _LINKS.sub("", _LINK_LINE.sub("", text))
    text = html.unescape(text).strip()
    if post.reply_to_id or post.reply_to_handle:
        text = _REPLY_PREFIX.sub("", text, count=1) if text.startswith("@") else text
    text = _INVISIBLE.sub("", unicodedata.normalize("NFC", text))
    text = _EMAIL.sub("", text)
    # Last of all removals: what goes before could have put a token together.
    text = _SPECIAL_START.sub("<", _SPECIAL_TOKEN.sub("", text))
    text = _LINE_ENDS.sub("\n", _BLANKS.sub(" ", _NEWLINES.sub("\n", text)))
    return _MANY_LINES.sub("\n\n", text).strip()


def is_short(text: str) -> bool:
    """Whether a cleaned text says too little: huggingtweets' rule, with two letters a word where no spaces are written.

    huggingtweets drops a text with fewer than three whitespace words free of http, @ and #; all of a Japanese post is
    one such word. So a word counts for at least its Han, Kana, Thai, Lao, Khmer or Myanmar letters outside of tags / 2.
    """
    words = 0
    for word in text.split():
        plain = not any(mark in word.lower() for mark in ("http", "@", "#"))
        letters = len(_DENSE_LETTER.findall(_TAGS.sub("", word)))
        words += max(int(plain), letters // LETTERS_PER_WORD)
    return words < MIN_WORDS


def clean_account(posts: Iterable[Post], profile: Profile) -> tuple[list[DatasetRow], Counts]:
    """The dataset rows of one account and its counts: downloaded = retweets + short + kept, as on huggingtweets' cards.

    A text that comes again (but for case and width) is counted in `kept` and is one row. `answers` is the account's
    own post that this one goes on from, where it is in `posts`. NoPosts if nothing is kept.
    """
    downloaded = retweets = short = 0
    own: dict[str, str] = {}  # id -> cleaned text, short ones too: they can be answered
    unique: dict[str, tuple[str, str, str | None]] = {}  # key -> id, text, the id that it answers
    for post in posts:
        downloaded += 1
        if post.is_retweet:
            retweets += 1
            continue
        own[post.id] = text = clean_text(post)
        if is_short(text):
            short += 1
            continue
        unique.setdefault(unicodedata.normalize("NFKC", text.casefold()), (post.id, text, post.reply_to_id))
    if not unique:
        raise NoPosts(profile.handle, downloaded=downloaded, retweets=retweets, short=short)
    rows = [
        DatasetRow(id=post_id, handle=profile.handle, text=text, answers=_answered(own, post_id, reply_to_id))
        for post_id, text, reply_to_id in unique.values()
    ]
    counts = Counts(
        handle=profile.handle,
        name=profile.name,
        downloaded=downloaded,
        retweets=retweets,
        short=short,
        kept=downloaded - retweets - short,
        characters=sum(len(row.text) for row in rows),
    )
    return rows, counts


def _answered(own: dict[str, str], post_id: str, reply_to_id: str | None) -> str | None:
    return own.get(reply_to_id) or None if reply_to_id and reply_to_id != post_id else None
