"""Small files of posts as each producer writes them, all of @wren and, where there are others, @jay."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

ID = "1577733513441599488"
REPLY_ID = "1577733513441599499"
WHEN = "2022-10-05T19:00:46+00:00"

TWINT = (
    "id,conversation_id,created_at,date,time,timezone,user_id,username,name,place,tweet,language,mentions,urls,photos,"
    "replies_count,retweets_count,likes_count,hashtags,cashtags,link,retweet,quote_url,video,thumbnail,near,geo,source,"
    "user_rt_id,user_rt,retweet_id,reply_to,retweet_date,translate,trans_src,trans_dest"
).split(",")


@dataclass(frozen=True)
class Produced:
    """A file, and what has to be found in it beyond the post "I sing at dawn" of ID at WHEN by @wren, in English."""

    name: str
    content: bytes
    names_author: bool = True
    has_retweet: bool = True
    has_reply: bool = True  # REPLY_ID, "@jay Louder today", to @jay
    reply_to_id: str | None = "42"
    answers: str | None = None


def delimited(
    rows: Iterable[Row],
    columns: Sequence[str],
    *,
    delimiter: str = ",",
    encoding: str = "utf-8",
    has_header: bool = True,
) -> bytes:
    """A table with those columns; missing cells are empty."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, restval="", delimiter=delimiter)
    if has_header:
        writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode(encoding)


def json_lines(rows: Iterable[object]) -> bytes:
    """One JSON value a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def twint_csv() -> Produced:
    own: Row = {
        **{"conversation_id": ID, "date": "2022-10-05", "time": "21:00:46", "timezone": "+0200", "user_id": 7},
        **{"created_at": "2022-10-05 21:00:46 CEST", "username": "wren", "name": "Jenny Wren", "language": "en"},
        **{"retweet": "False", "reply_to": "[]", "mentions": "[]"},
    }
    rows = [
        {**own, "id": ID, "tweet": "I sing at dawn"},
        {**own, "id": REPLY_ID, "tweet": "@jay Louder today", "reply_to": "[{'screen_name': 'jay', 'id': '8'}]"},
        {**own, "id": "3", "tweet": "Of others", "retweet": "True", "user_rt": "wren", "retweet_id": "4"},
    ]
    return Produced("twint.csv", delimited(rows, TWINT), reply_to_id=None)


def twint_jsonl() -> Produced:
    own: Row = {"date": "2022-10-05", "time": "19:00:46", "timezone": "+0000", "username": "wren", "language": "en"}
    own = {**own, "name": "Jenny Wren", "retweet": False, "reply_to": [], "created_at": 1664996446000}
    rows = [
        {**own, "id": int(ID), "tweet": "I sing at dawn"},
        {**own, "id": int(REPLY_ID), "tweet": "@jay Louder today", "reply_to": [{"screen_name": "jay"}]},
        {**own, "id": 3, "tweet": "Of others", "retweet": True},
    ]
    return Produced("twint.json", json_lines(rows), reply_to_id=None)


def snscrape(*, text: str = "rawContent") -> Produced:
    own: Row = {"date": WHEN, "user": {"username": "wren", "displayname": "Jenny Wren"}, "lang": "en", "links": None}
    own = {**own, "retweetedTweet": None, "quotedTweet": None, "inReplyToUser": None, "_type": "snscrape.Tweet"}
    jay = {"username": "jay", "displayname": "Jay"}
    rows = [
        {**own, "id": int(ID), text: "I sing at dawn", "renderedContent": "I sing at…"},
        {**own, "id": int(REPLY_ID), text: "@jay Louder today", "inReplyToTweetId": 42, "inReplyToUser": jay},
        {**own, "id": 3, text: "Of others", "retweetedTweet": {"id": 4, text: "Of others", "user": jay}},
    ]
    return Produced("snscrape.jsonl", json_lines(rows))


def snscrape_pandas() -> Produced:
    """What most notebooks made of snscrape's objects."""
    rows = [
        {"": 0, "Datetime": "2022-10-05 19:00:46+00:00", "Tweet Id": ID, "Text": "I sing at dawn", "Username": "wren"},
        {"": 1, "Datetime": "2022-10-05 19:00:46+00:00", "Tweet Id": "3", "Text": "RT @jay: Of", "Username": "wren"},
    ]
    return Produced("frame.csv", delimited(rows, ("", "Datetime", "Tweet Id", "Text", "Username")), has_reply=False)


def twscrape() -> Produced:
    own: Row = {"date": WHEN, "user": {"id": 7, "username": "wren", "displayname": "Jenny Wren"}, "lang": "en"}
    own = {**own, "retweetedTweet": None, "media": {"photos": []}, "mentionedUsers": [], "_type": "twscrape.Tweet"}
    jay = {"id": 8, "username": "jay", "displayname": "Jay"}
    rows = [
        {**own, "id": int(ID), "id_str": ID, "rawContent": "I sing at dawn", "links": [{"tcourl": "https://t.co/a"}]},
        {**own, "id_str": REPLY_ID, "rawContent": "@jay Louder today", "inReplyToTweetId": 42, "inReplyToUser": jay},
        {**own, "id_str": "3", "rawContent": "RT @jay: Of others", "retweetedTweet": {"id_str": "4"}},
    ]
    return Produced("twscrape.json", json_lines(rows))


def twexportly() -> Produced:
    own: Row = {"created_at": "2022-10-05 19:00:46", "language": "en"}
    rows = [
        {**own, "tweet_id": f"'{ID}'", "text": "I sing at dawn", "type": "Tweet"},
        {**own, "tweet_id": f"'{REPLY_ID}'", "text": "@jay Louder today", "type": "Reply"},
        {**own, "tweet_id": "'3'", "text": "Of others", "type": "Retweet"},
    ]
    columns = ("tweet_id", "text", "type", "language", "created_at", "favorite_count")
    return Produced(
        "TwExportly_wren_tweets_2022_11_01.csv",
        delimited(rows, columns, encoding="utf-8-sig"),
        names_author=False,
        reply_to_id=None,
    )


def twarc1() -> Produced:
    """API v1.1, extended and streamed."""
    own: Row = {"created_at": "Wed Oct 05 19:00:46 +0000 2022", "lang": "en", "retweeted": False}
    own = {**own, "user": {"id_str": "7", "screen_name": "wren", "name": "Jenny Wren"}}
    reply = {"in_reply_to_status_id_str": "42", "in_reply_to_screen_name": "jay"}
    rows = [
        {**own, "id": int(ID), "id_str": ID, "text": "I sing…", "extended_tweet": {"full_text": "I sing at dawn"}},
        {**own, "id": int(REPLY_ID), "id_str": REPLY_ID, "full_text": "@jay Louder today", **reply},
        {**own, "id": 3, "id_str": "3", "full_text": "Of others", "retweeted_status": {"id_str": "4"}},
    ]
    return Produced("twarc.jsonl", json_lines(rows))


def v2_page(*, old: bool = True) -> dict[str, Any]:
    """An answer of the API v2 with its expansions, in the words of before or after August 2026."""
    references, included = ("referenced_tweets", "tweets") if old else ("referenced_posts", "posts")
    own: Row = {"created_at": "2022-10-05T19:00:46.000Z", "lang": "en", "author_id": "7"}
    return {
        "data": [
            {**own, "id": ID, "text": "I sing…", "note_tweet" if old else "note_post": {"text": "I sing at dawn"}},
            {**own, "id": REPLY_ID, "text": "@jay Louder today", references: [{"type": "replied_to", "id": "42"}]}
            | {"in_reply_to_user_id": "8", "entities": {"mentions": [{"id": "8", "username": "jay"}]}},
            {**own, "id": "3", "text": "Of others", references: [{"type": "retweeted", "id": "43"}]},
        ],
        "includes": {
            "users": [{"id": "7", "username": "wren", "name": "Jenny Wren"}, {"id": "8", "username": "jay"}],
            included: [{"id": "42", "text": "Sing!", "author_id": "8"}, {"id": "43", "text": "Of", "author_id": "8"}],
        },
        "meta": {"result_count": 3},
    }


def v2_object() -> Produced:
    return Produced("v2.json", json.dumps(v2_page(), indent=2).encode(), answers="Sing!")


def v2_new_words() -> Produced:
    return Produced("v2.json", json.dumps(v2_page(old=False)).encode(), answers="Sing!")


def v2_lines() -> Produced:
    """`twarc2 timeline`: an answer a line."""
    return Produced("twarc2.jsonl", json_lines([v2_page(), {"meta": {"result_count": 0}}]), answers="Sing!")


def v2_flattened() -> Produced:
    """`twarc2 flatten`: a post a line, with what it points at inside."""
    page = v2_page()
    users = {user["id"]: user for user in page["includes"]["users"]}
    posts = {post["id"]: post for post in page["includes"]["tweets"]}
    rows = []
    for post in page["data"]:
        references = [reference | posts[reference["id"]] for reference in post.get("referenced_tweets", ())]
        rows.append(post | {"author": users["7"], "referenced_tweets": references})
    return Produced("flat.jsonl", json_lines(rows), answers="Sing!")


def twarc_csv() -> Produced:
    own: Row = {"created_at": "2022-10-05T19:00:46.000Z", "lang": "en", "author.username": "wren"}
    own = {**own, "author_id": "7", "author.name": "Jenny Wren"}
    answered = {"referenced_tweets.replied_to.id": "42", "in_reply_to_username": "jay"}
    rows = [
        {**own, "id": ID, "text": "I sing at dawn"},
        {**own, "id": REPLY_ID, "text": "@jay Louder today", **answered},
        {**own, "id": "3", "text": "Of others", "referenced_tweets.retweeted.id": "4"},
    ]
    columns = ("id", *answered, "referenced_tweets.retweeted.id", *(key for key in own), "text")
    return Produced("twarc2.csv", delimited(rows, columns))


def trump_archive() -> Produced:
    own: Row = {"isRetweet": "f", "isDeleted": "f", "device": "Twitter for iPhone", "date": "2022-10-05 19:00:46"}
    rows = [
        {**own, "id": ID, "text": "I sing at dawn"},
        {**own, "id": "3", "text": "Of others", "isRetweet": "t"},
        {**own, "id": "5", "text": "I take that back", "isDeleted": "t"},
    ]
    columns = ("id", "text", "isRetweet", "isDeleted", "device", "favorites", "retweets", "date", "isFlagged")
    return Produced("tweets_11-06-2021.csv", delimited(rows, columns), names_author=False, has_reply=False)


def social_feed_manager() -> Produced:
    own: Row = {"created_at": "Wed Oct 05 19:00:46 +0000 2022", "screen_name": "wren"}
    rows = [{**own, "twitter_id": ID, "text": "I sing at dawn"}, {**own, "twitter_id": "3", "text": "RT @jay: Of"}]
    columns = ("created_at", "twitter_id", "screen_name", "location", "followers_count", "text")
    return Produced("sfm.csv", delimited(rows, columns), has_reply=False)


def sentiment140() -> Produced:
    own: Row = {"target": "0", "date": "Wed Oct 05 12:00:46 PDT 2022", "flag": "NO_QUERY", "user": "wren"}
    columns = ("target", "ids", "date", "flag", "user", "text")
    content = delimited([{**own, "ids": ID, "text": "I sing at dawn"}], columns, has_header=False, encoding="latin-1")
    return Produced("training.1600000.csv", content, has_reply=False, has_retweet=False)


def grailbird() -> Produced:
    """tweets.csv of the archives that X gave until 2018."""
    columns = (
        *("tweet_id", "in_reply_to_status_id", "in_reply_to_user_id", "timestamp", "source", "text"),
        *("retweeted_status_id", "retweeted_status_user_id", "retweeted_status_timestamp", "expanded_urls"),
    )
    own: Row = {"timestamp": "2022-10-05 19:00:46 +0000", "source": "<a href='https://example.org'>web</a>"}
    rows = [
        {**own, "tweet_id": ID, "text": "I sing at dawn"},
        {**own, "tweet_id": "3", "text": "Of others", "retweeted_status_id": "4"},
    ]
    return Produced("tweets.csv", delimited(rows, columns), names_author=False, has_reply=False)


def semicolons() -> Produced:
    columns = ("Created-At", "From-User", "Id", "Text")
    rows = [{"Created-At": "2022-10-05 19:00:46", "From-User": "wren", "Id": ID, "Text": "I sing at dawn"}]
    return Produced("export.csv", delimited(rows, columns, delimiter=";"), has_reply=False, has_retweet=False)


PRODUCERS: tuple[Callable[[], Produced], ...] = (
    *(twint_csv, twint_jsonl, snscrape, snscrape_pandas, twscrape, twexportly, twarc1, v2_object, v2_new_words),
    *(v2_lines, v2_flattened, twarc_csv, trump_archive, social_feed_manager, sentiment140, grailbird, semicolons),
)
