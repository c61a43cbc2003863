"""Small X archives in the layouts of the years, and broken or hostile ones, written to a folder of the test."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

Item = dict[str, Any]
START = datetime(2022, 10, 5, 19, 0, 46, tzinfo=UTC)
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def tweet(number: int, text: str, **fields: object) -> Item:
    """An item of tweets.js, one minute after the one before; numbers are strings, as X writes them."""
    when = START + timedelta(minutes=number)
    stamp = f"{DAYS[when.weekday()]} {MONTHS[when.month - 1]} {when:%d %H:%M:%S +0000 %Y}"
    return {
        "id_str": str(1000 + number),
        "id": str(1000 + number),
        "full_text": text,
        "created_at": stamp,
        "retweeted": False,
        "truncated": False,
        "favorite_count": "3",
        "lang": "en",
        "entities": {},
    } | fields


def note(number: int, text: str, *, links: Sequence[str] = (), note_id: str = "") -> Item:
    """An item of note-tweet.js, made in the second of `tweet(number, …)` but under an id of its own."""
    when = START + timedelta(minutes=number)
    urls = [{"shortUrl": link, "expandedUrl": "https://example.org", "fromIndex": "0"} for link in links]
    return {
        "noteTweet": {
            "noteTweetId": note_id or str(9000 + number),
            "createdAt": f"{when:%Y-%m-%dT%H:%M:%S}.000Z",
            "lifecycle": {"value": "0", "name": "Final"},
            "core": {"text": text, "urls": urls},
        }
    }


def script(kind: str, entries: object, *, part: int = 0) -> str:
    """What a .js file of the archive holds."""
    return f"window.YTD.{kind}.part{part} = " + json.dumps(entries, ensure_ascii=False, indent=1)


def account(handle: str, name: str) -> str:
    """account.js, with the e-mail address that nobody is to read."""
    owner = {"email": "owner@example.org", "username": handle, "accountId": "7", "accountDisplayName": name}
    return script("account", [{"account": owner}])


def manifest(handle: str, name: str) -> str:
    """manifest.js; as in real ones, some data types have no `files`."""
    user = {"accountId": "7", "userName": handle, "displayName": name}
    return "window.__THAR_CONFIG = " + json.dumps({"userInfo": user, "dataTypes": {"tweetsMedia": {}}})


def write_zip(path: Path, members: Mapping[str, str | bytes]) -> Path:
    """A deflated ZIP of these members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def archive_2018(path: Path, tweets: Sequence[Item]) -> Path:
    """tweet.js at the root, items bare."""
    return write_zip(path, {"tweet.js": script("tweet", list(tweets))})


def archive_2019(path: Path, tweets: Sequence[Item], *, handle: str = "wren", name: str = "Wren") -> Path:
    """data/tweet.js and data/tweet-part1.js, items wrapped."""
    wrapped = [{"tweet": t} for t in tweets]
    half = len(wrapped) // 2
    return write_zip(
        path,
        {
            "data/tweet-part1.js": script("tweet", wrapped[half:], part=1),
            "data/tweet.js": script("tweet", wrapped[:half]),
            "data/account.js": account(handle, name),
        },
    )


def archive_2022(
    path: Path,
    tweets: Sequence[Item],
    notes: Sequence[Item] = (),
    *,
    handle: str = "wren",
    name: str = "Wren",
    top: str = "",
) -> Path:
    """data/tweets.js and data/note-tweet.js beside files that must not be opened; `top` is a re-zip's folder."""
    return write_zip(
        path,
        {
            f"{top}Your archive.html": "<html>",
            f"{top}data/direct-messages.js": "window.YTD.direct_messages.part0 = not even JSON",
            f"{top}data/deleted-tweets.js": script(
                "deleted_tweets", [{"tweet": tweet(700, "taken back, do not read")}]
            ),
            f"{top}data/community-tweet.js": script(
                "community_tweet", [{"tweet": tweet(701, "for the community only")}]
            ),
            f"{top}data/twitter-circle-tweet.js": script(
                "twitter_circle_tweet", [{"tweet": tweet(702, "for friends")}]
            ),
            f"{top}data/tweets.js": script("tweets", [{"tweet": t} for t in tweets]),
            f"{top}data/note-tweet.js": script("note_tweet", list(notes)),
            f"{top}data/account.js": account(handle, name),
            f"{top}data/manifest.js": manifest(handle, name),
        },
    )


def lock(path: Path) -> Path:
    """The same ZIP with the flag of an encrypted member set on all of them, in both headers."""
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(signature, at + 1)
    path.write_bytes(data)
    return path


def bomb(path: Path, *, megabytes: int) -> Path:
    """A ZIP of a few kilobytes whose tweets.js unpacks to that many megabytes of blanks."""
    return write_zip(path, {"data/tweets.js": b"window.YTD.tweets.part0 = [" + b" " * (megabytes << 20) + b"]"})
