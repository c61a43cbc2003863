"""Builds `nightbus_nell.zip`, an X archive in the layout of 2024, from `nightbus_nell.jsonl`.

    python samples/make_archive.py

The account, the town and all who are mentioned are made up; the posts were written for this project (CC0). A line is
`text` with, where it applies, `to` (answers that account), `thread` (goes on from the line before),
`kind` "retweet" (`of` that account) or "long" (a note tweet). The same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import html
import json
import random
import re
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
HANDLE, NAME, ACCOUNT_ID = "nightbus_nell", "Nell 🚌🌙", "1490000000000000047"
FIRST, LAST = datetime(2022, 3, 1, tzinfo=UTC), datetime(2024, 9, 30, tzinfo=UTC)
X_EPOCH_MS = 1288834974657  # of X's ids
RETWEET_CHARS = 140  # where X cuts a retweet
SHOWN_CHARS = 275  # of a note tweet
_LINK = re.compile(r"https?://\S+[\w/]")
_MENTION = re.compile(r"@(\w{1,15})")
_HASHTAG = re.compile(r"#(\w+)")


def main() -> None:
    lines = [json.loads(line) for line in (HERE / f"{HANDLE}.jsonl").read_text(encoding="utf-8").splitlines()]
    tweets, notes = build(lines)
    files = {
        "data/manifest.js": ("window.__THAR_CONFIG", _manifest(len(tweets), len(notes))),
        "data/account.js": ("window.YTD.account.part0", [{"account": _account()}]),
        "data/profile.js": ("window.YTD.profile.part0", [{"profile": _profile()}]),
        "data/tweets.js": ("window.YTD.tweets.part0", tweets),
        "data/note-tweet.js": ("window.YTD.note_tweet.part0", notes),
        "data/deleted-tweets.js": ("window.YTD.deleted_tweets.part0", []),
    }
    with zipfile.ZipFile(HERE / f"{HANDLE}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, (variable, value) in files.items():
            text = f"{variable} = {json.dumps(value, ensure_ascii=False, indent=1)}"
            archive.writestr(zipfile.ZipInfo(name, (2024, 10, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
    print(f"{len(tweets)} tweets, {len(notes)} of them long")


def build(lines: list[dict]) -> tuple[list[dict], list[dict]]:
    """The items of tweets.js, newest first as X has them, and of note-tweet.js."""
    rng = random.Random(47)
    threads: list[list[dict]] = []
    for line in lines:
        if line.get("thread") and threads:
            threads[-1].append(line)
        else:
            threads.append([line])
    rng.shuffle(threads)
    step = (LAST - FIRST) / len(threads)
    tweets, notes = [], []
    for number, thread in enumerate(threads):
        time = (FIRST + number * step).replace(
            hour=rng.choice((0, 1, 2, 3, 4, 5, 13, 22, 23)), minute=rng.randrange(60)
        )
        previous: str | None = None
        for line in thread:
            time += timedelta(seconds=rng.randrange(40, 200))
            tweet_id = str((int(time.timestamp() * 1000) - X_EPOCH_MS << 22) + rng.randrange(1 << 12))
            tweet, note = _tweet(line, tweet_id, time, previous, rng)
            tweets.append({"tweet": tweet})
            notes += [{"noteTweet": note}] if note else []
            previous = tweet_id
    return tweets[::-1], notes[::-1]


def _tweet(
    line: dict, tweet_id: str, time: datetime, previous: str | None, rng: random.Random
) -> tuple[dict, dict | None]:
    text, note, reply = line["text"], None, {}
    if line.get("kind") == "retweet":
        text = f"RT @{line['of']}: {text}"
        text = text if len(text) <= RETWEET_CHARS else text[: RETWEET_CHARS - 1] + "…"
    elif line.get("kind") == "long":
        note = _note(text, time)
        text = f"{text[:SHOWN_CHARS].rsplit(' ', 1)[0]}… {_short(tweet_id)}"
    elif line.get("thread"):
        reply = _reply(previous, ACCOUNT_ID, HANDLE)
    elif "to" in line:
        other = str(int(hashlib.sha256(line["to"].encode()).hexdigest()[:15], 16))
        reply = _reply(str(int(tweet_id) - rng.randrange(1 << 40)), other, line["to"])
        text = f"@{line['to']} {text}"
    urls = []
    for url in dict.fromkeys(_LINK.findall(text)):
        if "t.co/" not in url:
            urls.append({"url": _short(url), "expanded_url": url, "display_url": url.removeprefix("https://")[:30]})
            text = text.replace(url, _short(url))
    for entity in urls:
        entity["indices"] = _indices(text, entity["url"])
    return {
        "edit_info": {"initial": {"editTweetIds": [tweet_id], "editableUntil": time.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                                  "editsRemaining": "5", "isEditEligible": not reply}},
        "retweeted": False,
        "source": '<a href="https://mobile.twitter.com" rel="nofollow">Twitter Web App</a>',
        "entities": {
            "hashtags": [{"text": t, "indices": _indices(text, f"#{t}")} for t in _HASHTAG.findall(text)],
            "symbols": [],
            "user_mentions": [
                {"name": m, "screen_name": m, "indices": _indices(text, f"@{m}"), "id_str": "1", "id": "1"}
                for m in dict.fromkeys(_MENTION.findall(text))
            ],
            "urls": urls,
        },
        "display_text_range": ["0", str(len(text))],
        "favorite_count": str(rng.randrange(40)),
        "id_str": tweet_id,
        "truncated": False,
        "retweet_count": str(rng.randrange(6)),
        "id": tweet_id,
        "created_at": _date(time),
        "favorited": False,
        "full_text": html.escape(text, quote=False),
        "lang": "en",
        **reply,
    }, note  # fmt: skip


def _note(text: str, time: datetime) -> dict:
    """A long post's full text. Its id is not the tweet's: X's archives join the two by second and beginning."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return {
        "noteTweetId": str((int(time.timestamp() * 1000) - X_EPOCH_MS << 22) + 4095),
        "createdAt": stamp,
        "updatedAt": stamp,
        "lifecycle": {"value": "1", "name": "Current", "originalName": "Current", "annotations": {}},
        "core": {"styletags": [], "urls": [], "text": text, "mentions": [], "cashtags": [], "hashtags": []},
    }


def _reply(status_id: str | None, user_id: str, handle: str) -> dict:
    return {
        "in_reply_to_status_id_str": status_id,
        "in_reply_to_status_id": status_id,
        "in_reply_to_user_id": user_id,
        "in_reply_to_user_id_str": user_id,
        "in_reply_to_screen_name": handle,
    }


def _manifest(tweets: int, notes: int) -> dict:
    def files(name: str, variable: str, count: int) -> list[dict]:
        return [{"fileName": f"data/{name}.js", "globalName": f"YTD.{variable}.part0", "count": str(count)}]

    return {
        "userInfo": {"accountId": ACCOUNT_ID, "userName": HANDLE, "displayName": NAME},
        "archiveInfo": {"sizeBytes": "0", "generationDate": "2024-10-01T00:00:00.000Z", "isPartialArchive": False,
                        "maxPartSizeBytes": "53687091200"},
        "dataTypes": {
            "account": {"files": files("account", "account", 1)},
            "tweets": {"mediaDirectory": "data/tweets_media", "files": files("tweets", "tweets", tweets)},
            "noteTweet": {"files": files("note-tweet", "note_tweet", notes)},
            "tweetsMedia": {"mediaDirectory": "data/tweets_media"},
        },
    }  # fmt: skip


def _account() -> dict:
    return {
        "email": "nell@portellery.example",
        "createdVia": "web",
        "username": HANDLE,
        "accountId": ACCOUNT_ID,
        "createdAt": "2022-02-05T01:12:00.000Z",
        "accountDisplayName": NAME,
    }


def _profile() -> dict:
    bio = "drives the 47 through the small hours. soup, moths, lost gloves. mind the step."
    return {"description": {"bio": bio, "website": "", "location": "Port Ellery"}}


def _short(url: str) -> str:
    return f"https://t.co/{hashlib.sha256(url.encode()).hexdigest()[:10]}"


def _indices(text: str, part: str) -> list[str]:
    start = text.find(part)
    return [str(start), str(start + len(part))]


def _date(time: datetime) -> str:
    """X's date format, whatever the locale."""
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[time.weekday()]
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[time.month - 1]
    return f"{day} {month} {time:%d %H:%M:%S} +0000 {time.year}"


if __name__ == "__main__":
    main()
