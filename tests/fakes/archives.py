"""Small X archives in the layouts of the years, and broken or hostile ones, written to a folder of the test."""

from __future__ import annotations

import csv
import io
import json
import struct
import zipfile
import zlib
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


def grailbird_item(number: int, text: str, **fields: object) -> Item:
    """An item of Grailbird's scripts: ids are numbers too, the text is `text`, the author is with it."""
    return {
        "id": 1000 + number,
        "id_str": str(1000 + number),
        "text": text,
        "created_at": f"2015-01-24 02:{number % 60:02d}:37 +0000",
        "geo": {},
        "entities": {"user_mentions": [], "media": [], "hashtags": [], "urls": []},
        "user": {"name": "Jenny Wren", "screen_name": "wren", "protected": False, "id_str": "7", "id": 7},
    } | fields


def month(name: str, items: object) -> str:
    """data/js/tweets/2015_01.js"""
    return f"Grailbird.data.tweets_{name} = \n{json.dumps(items, ensure_ascii=False, indent=1)}"


def user_details(handle: str, name: str) -> str:
    """data/js/user_details.js"""
    user = {"screen_name": handle, "location": "a hedge", "full_name": name, "bio": "not to be read", "id": "7"}
    return "var user_details =  " + json.dumps(user)


def tweets_csv(items: Sequence[Item]) -> str:
    """tweets.csv: every field quoted, without entities; a retweet is told by `retweeted_status_id`."""
    columns = (
        "tweet_id,in_reply_to_status_id,in_reply_to_user_id,timestamp,source,text,retweeted_status_id,"
        "retweeted_status_user_id,retweeted_status_timestamp,expanded_urls"
    ).split(",")
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns, restval="", quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    for item in items:
        native = item.get("retweeted_status")
        writer.writerow(
            {
                "tweet_id": item["id_str"],
                "in_reply_to_status_id": item.get("in_reply_to_status_id", ""),
                "timestamp": item["created_at"],
                "text": item["text"],
                "retweeted_status_id": native["id_str"] if isinstance(native, dict) else "",
            }
        )
    return file.getvalue()


def archive_2012(path: Path, months: Mapping[str, Sequence[Item]], *, top: str = "", scripts: bool = True) -> Path:
    """Grailbird: a script for each month and tweets.csv with the same posts; or, without `scripts`, only that."""
    items = [item for name in sorted(months, reverse=True) for item in months[name]]
    members = {f"{top}tweets.csv": tweets_csv(items), f"{top}data/js/user_details.js": user_details("wren", "Jenny")}
    if scripts:
        index = [{"file_name": f"data/js/tweets/{name}.js", "tweet_count": len(months[name])} for name in months]
        members[f"{top}data/js/tweet_index.js"] = "var tweet_index =  " + json.dumps(index)
        members[f"{top}data/js/payload_details.js"] = 'var payload_details =  {"tweets": 1, "lang": "en"}'
        members |= {f"{top}data/js/tweets/{name}.js": month(name, months[name]) for name in months}
    return write_zip(path, members)


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


def raw_zip(
    path: Path,
    name: str,
    packed: bytes,
    *,
    size: int,
    packed_size: int | None = None,
    crc: int = 0,
    method: int = zipfile.ZIP_DEFLATED,
    times: int = 1,
) -> Path:
    """A ZIP of one member that claims what it is told to; the directory names it `times` times over."""
    claims = struct.pack("<HHHHHLLL", 20, 0, method, 0, 0x21, crc, packed_size or len(packed), size)
    local = b"PK\x03\x04" + claims + struct.pack("<HH", len(name), 0) + name.encode() + packed
    entry = struct.pack("<4sH", b"PK\x01\x02", 20) + claims + struct.pack("<HHHHHLL", len(name), 0, 0, 0, 0, 0, 0)
    directory = (entry + name.encode()) * times
    end = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, times, times, len(directory), len(local), 0)
    path.write_bytes(local + directory + end)
    return path


def packed_blanks(megabytes: int) -> bytes:
    """What deflates to a list after that many megabytes of blanks, made in no time: a block, again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(b"window.YTD.tweets.part0 = [") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b" " * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * megabytes + packer.compress(b"]") + packer.flush()
