"""Cleaning: raw posts -> the texts that a model learns, counted as huggingtweets counts them.

Pure functions. What differs from huggingtweets (huggingtweets-demo.ipynb: `fix_text`, `clean_tweet`, `boring_tweet`):
links are known from the post and don't take glued Japanese or Chinese text with them, the automatic @names before a
reply go, line breaks stay, languages written without spaces are not thrown away for having no words, and what comes
again and again is learned once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import regex
from ftfy import fix_encoding

from models.errors import NoPosts
from models.records import Counts, DatasetRow, Post, Profile
from trainer.duplicates import find_repeats
from trainer.languages import main_languages
from trainer.masking import mask_personal
from trainer.sources.html_text import unescape

CLEANING = "2"  # raised with each change of what comes out
MAX_CHARACTERS = 25_000  # X's longest post; the rest of a longer text is not looked at
MAX_LINKS = 100  # known links of a post that are looked for
MAX_ROUNDS = 8  # of cleaning one text; ordinary ones need one and a second that finds nothing more to do
MIN_WORDS = 3  # huggingtweets' `boring_tweet`
# How many letters make a word where no spaces are written: of 3,942 Chinese chat lines (Common Voice) 91 % are kept.
# Koreans write spaces, but often leave them out on social media.
LETTERS_PER_WORD = {"Han": 1.5, "Kana": 2.0, "Thai": 2.0, "Hangul": 2.5}
GARBLED = "\ufffd"  # the replacement character: a byte that some exporter lost

_KANA = r"\p{Hiragana}\p{Katakana}ー"
_THAI = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_NO_SPACES = rf"\p{{Han}}{_KANA}{_THAI}"
_LINK_MARK = "\x00"  # stands where a known link stood
# huggingtweets: http:\S+. A URL ends before a script that is glued to it, and before East Asian punctuation too.
_LINK = rf"(?:\x00|(?i:https?:)[^\s\x00{_NO_SPACES}\p{{Hangul}}\u3000-\u303f\uff00-\uffef]++)"
_LINK_LINE = regex.compile(rf"\n(?:{_LINK}\x20?)++(?=\n|\Z)")  # possessive: links in a row can be split in many ways
_LINKS = regex.compile(rf"\x20?{_LINK}")
# X's @name, Mastodon's @name@server, Bluesky's @name.server.
_REPLY_PREFIX = regex.compile(r"(?:@\w+(?:[.-]\w+)*+(?:@\w+(?:[.-]\w+)*+)?(?:\s++|\Z))+", regex.ASCII)
_NEWLINES = regex.compile(r"\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
# Kept on purpose: ZWJ and VS16 (emoji), ZWNJ (Persian, Indic scripts).
_INVISIBLE = regex.compile(r"[\x01-\x08\x0e-\x1f\x7f-\x9f\ufeff\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# A space takes the place of what goes here, so that nothing new is put together. Bars may be full-width (DeepSeek).
_SPECIAL_TOKEN = regex.compile(r"<[|｜][^<>|｜\n]{1,40}[|｜]>")
_SPECIAL_START = regex.compile(r"<[|｜]+")
_NAMED_TOKEN = regex.compile(
    r"</?s>|<(?:bos|eos|pad|unk|mask|start_of_turn|end_of_turn)>|\[/?INST\]|\[(?:CLS|SEP|MASK|PAD|UNK)\]"
)
_BLANKS = regex.compile(r"[^\S\n]+")
_LINE_ENDS = regex.compile(r"\x20?\n\x20?")
_MANY_LINES = regex.compile(r"\n{3,}")
_TAGS = regex.compile(r"[@\uff20][A-Za-z0-9_]+|[#\uff03]\w+|https?:[!-~]*")  # full-width @ and # too
_DENSE = {
    "Han": regex.compile(r"(?V1)[\p{Han}&&\p{L}]"),
    "Kana": regex.compile(rf"(?V1)[[{_KANA}]&&\p{{L}}]"),
    "Thai": regex.compile(rf"(?V1)[[{_THAI}]&&\p{{L}}]"),
    "Hangul": regex.compile(r"\p{Hangul}"),
}
_OTHER_LETTER = regex.compile(rf"(?V1)[\p{{L}}--[{_NO_SPACES}\p{{Hangul}}]]")
_LAUGHTER = regex.compile(r"(\w)\1{2,}+")  # 哈哈哈, ㅋㅋㅋ: one letter, however often


def clean_text(post: Post) -> str:
    """The post's own words: no links, no HTML escapes, no automatic @names, nothing that a model takes for a token.

    At most as many characters as the source in NFC. Cleaning what comes out once more changes nothing.
    """
    is_reply = bool(post.reply_to_id or post.reply_to_handle)
    return _clean(post.text, links=post.links, is_escaped=post.is_escaped, is_reply=is_reply)


def is_short(text: str) -> bool:
    """Whether a cleaned text says too little: huggingtweets' rule, with letters for words where no spaces are written.

    huggingtweets drops a text with fewer than three whitespace words free of http, @ and #; all of a Japanese post is
    one such word. So a word counts for at least its letters outside of tags, each worth 1 / LETTERS_PER_WORD.
    """
    amount = 0.0
    for word in text.split():
        plain = not any(mark in word.lower() for mark in ("http", "@", "#"))
        dense = 0.0 if word.isascii() else _dense_words(_TAGS.sub("", word))
        amount += max(float(plain), dense)
    return amount < MIN_WORDS


def clean_account(posts: Iterable[Post], profile: Profile) -> tuple[list[DatasetRow], Counts]:
    """The dataset rows of one account and its counts: downloaded = retweets + short + kept, as on huggingtweets' cards.

    Of the kept, `left_out` says why some are no rows: their text is damaged, or an earlier post in the order of
    `posts` has it already (see `duplicates`). `answers` is the account's own post that this one goes on from, where it
    is in `posts`, else the text that the source gives. NoPosts if nothing is kept.
    """
    downloaded = retweets = short = garbled = 0
    own: dict[str, str] = {}  # id -> cleaned text, short ones too: they can be answered
    kept: list[tuple[Post, str]] = []
    for post in posts:
        downloaded += 1
        if post.is_retweet:
            retweets += 1
            continue
        text = clean_text(post)
        own[post.id] = text
        if is_short(text):
            short += 1
        elif GARBLED in text:
            garbled += 1
        else:
            kept.append((post, text))
    if downloaded == retweets + short:
        raise NoPosts(profile.handle, downloaded=downloaded, retweets=retweets, short=short)
    repeats = find_repeats([text for _, text in kept])
    left_out = {"garbled": garbled} if garbled else {}
    for reason in repeats.values():
        left_out[reason] = left_out.get(reason, 0) + 1
    learned = [pair for number, pair in enumerate(kept) if number not in repeats]
    rows = [
        DatasetRow(id=post.id, handle=profile.handle, text=text, answers=_answered(own, post)) for post, text in learned
    ]
    counts = Counts(
        handle=profile.handle,
        name=profile.name,
        downloaded=downloaded,
        retweets=retweets,
        short=short,
        kept=downloaded - retweets - short,
        characters=sum(len(row.text) for row in rows),
        left_out=left_out,
        languages=main_languages([(post.lang, text) for post, text in learned]),
    )
    return rows, counts


def _clean(text: str, *, links: tuple[str, ...] = (), is_escaped: bool, is_reply: bool) -> str:
    text = text[:MAX_CHARACTERS].replace(_LINK_MARK, "")
    # One may be the beginning of another.
    for link in sorted(filter(str.strip, links[:MAX_LINKS]), key=len, reverse=True):
        text = text.replace(link, _LINK_MARK)
    if is_escaped:
        text = unescape(text)
    text = _tidy(_mend(text))
    if is_reply and (prefix := _REPLY_PREFIX.match(text)):
        text = text[prefix.end() :]
    # To a fixed point, because taking out one thing can put together another. Each round shortens the text.
    for _ in range(MAX_ROUNDS):
        settled = mask_personal(_tidy(_mend(text)))
        if settled == text:
            break
        text = settled
    return text


def _mend(text: str) -> str:
    """The text with UTF-8 that was read as Latin-1 or the like (“itâ€™s”) read rightly, where that can be told."""
    return text if text.isascii() else fix_encoding(text)


def _tidy(text: str) -> str:
    """No links, control characters or special tokens; in NFC; blanks single, line breaks at most two in a row."""
    text = _INVISIBLE.sub("", _NEWLINES.sub("\n", text))
    text = _LINKS.sub("", _LINK_LINE.sub("", text))
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)[:MAX_CHARACTERS]
    text = _SPECIAL_START.sub("<", _SPECIAL_TOKEN.sub(" ", text))
    text = _NAMED_TOKEN.sub(" ", text)
    text = _LINE_ENDS.sub("\n", _BLANKS.sub(" ", text))
    return _MANY_LINES.sub("\n\n", text).strip()


def _dense_words(text: str) -> float:
    """How many words the text of a script without spaces is worth; what is glued to it in another script is one."""
    text = _LAUGHTER.sub(r"\1", text)
    words = sum(len(letters.findall(text)) / LETTERS_PER_WORD[script] for script, letters in _DENSE.items())
    return words + 1 if words and _OTHER_LETTER.search(text) else words


def _answered(own: dict[str, str], post: Post) -> str | None:
    """What the post answers, cleaned, if that is known and readable."""
    if post.reply_to_id and post.reply_to_id != post.id and post.reply_to_id in own:
        text = own[post.reply_to_id]
    elif post.answers:
        text = _clean(post.answers, is_escaped=post.is_escaped, is_reply=True)
    else:
        return None
    return text if text and GARBLED not in text else None
