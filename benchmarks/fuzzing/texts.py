"""Texts that are long, odd, or hard: for patterns, for parsers of times and addresses, and for whoever shows them."""

from __future__ import annotations

import random

LONG = 30_000  # characters of a text that is meant to be long
HUGE = 4 << 20  # and of one that is meant to fill the memory: one in RARELY of those
RARELY = 200

TIMES = (
    *("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "0000-00-00", "2022-02-30", "99999999999999", "9" * 13),
    *("Wed Oct 05 19:00:46 +9999 2022", "Wed Oct 05 99:99:99 +0000 2022", "Mon, 1 Jan 99999999999999999 0:0:0 +0"),
    *("²²²²-10-05", "２０２２-10-05", "1 2 3 4 5", ", ", "Jan", "a b c d e f", "0 Jan 0 :: +", "2022-10-05 19:00 UTC"),
    *("2022-W40-3", "20221005T190046", "2022-10-05T24:00:00", "2022-10-05T19:00:46.9+23:59:59.999999", "-1", "1e9"),
)
ADDRESSES = (
    *("https://[::1", "http://\ud800/", "https://toots.test:99999999/", "https://user:p@127.0.0.1/", "//", "at://\x00"),
    *(
        "https://" + "a" * 300,
        "https://xn--\x00/",
        "did:plc:",
        "at://",
        "file:///etc",
        "https://ＴＯＯＴＳ.test",
        "acct:@@",
    ),
    *("https://toots.test/users/robin/statuses/" + "1" * 5000, "https://toots.test/@" + "a" * 5000, "https://.../"),
)
_WORDS = (
    "I",
    "sing",
    "@jay",
    "#dawn",
    "https://t.co/a",
    "春",
    "สวัสดี",
    "👩‍👩‍👧",
    "&amp;",
    "…",
    "\n",
    "é",
    "\u202e",
    "｜",
)
# Pieces that a pattern may take long for, or a parser choke on, many times over.
_REPEATED = (
    *("http://", "https://t.co/", "<|", "<|a", "@a", "@a.", "@a@", "#", "&", "&#", "&#x", "<a ", "</", "<p>", "<!--"),
    *("(555) ", "+1 ", "1-2 ", "0", "5551234567 ", "a@", "a@b.", "a@b-", "RT @", " ", "\n", "\t\n", "\r", "\u3000"),
    *("\u0300", "\u200d", "\ufe0f", "ﷺ", "각", "😀", "\ufffd", "â€™", "Ã", "ÃƒÂ", "\\", '"', ":a:", "[INST", "ㅋ"),
    *('="', "…", "\U000e0001"),
)
_NUMBERS = ("&#{};", "&#x{};", "{}", "+{}", "@{}", "#{}", "https://t.co/{}", "{}@example.org")
_ODD = (
    *("\ud800", "a\udfff", "\0", "\x1b[2J", "\u202eabc", "RT @", "@", "#", "\ufeff", "\ufffd", "nan", "@everyone"),
    *("\u2028", "\x85", "-1", "1.23E+18", "[]"),
)


def hostile_text(rng: random.Random) -> str:
    """A text that is long, odd, or hard for patterns."""
    match rng.randrange(7):
        case 0:
            return rng.choice(_REPEATED) * rng.choice((2, 50, LONG // 4))
        case 1:
            return rng.choice(_REPEATED) * rng.randrange(2000) + rng.choice(_REPEATED) * rng.randrange(2000)
        case 2:
            points = (rng.randrange(rng.choice((0x3000, 0x110000))) for _ in range(rng.randrange(200)))
            return "".join(map(chr, points))
        case 3:
            return "".join(rng.choice((*_REPEATED, *_WORDS)) + rng.choice(("", " ")) for _ in range(rng.randrange(300)))
        case 4:
            return rng.choice(_NUMBERS).format(rng.choice("19af٣") * rng.choice((8, 20, 4300, 4301, 9000)))
        case 5:
            huge = rng.randrange(RARELY) == 0
            return rng.choice(("a", "a ", "春", "\ud800", "<p>", "🐦")) * (HUGE if huge else LONG)
        case _:
            return rng.choice(_ODD)
