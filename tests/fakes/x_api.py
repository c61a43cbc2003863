"""A stand-in for X's API v2: the two calls that we make, as X's documents and others' measurements of 2026 tell.

Fields can be asked for by their old names (tweet) and by the new ones (post); it answers in the words of the question.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from aiohttp import web

from tests.fakes.internet import FakeInternet
from tests.fakes.x_answers import (
    UNAUTHORIZED,
    XAnswer,
    invalid_parameter,
    invalid_request,
    limit_headers,
    problem,
    rate_limit,
)

REACH_WITHOUT_REPLIES = 800  # posts of an account
FIRST_POST_AT = datetime(2020, 1, 1, tzinfo=UTC)

# As X lists them when it refuses one (August 2026); what only the author may see is left out.
_BOTH = (
    "id text withheld created_at author_id conversation_id in_reply_to_user_id attachments lang possibly_sensitive "
    "reply_settings source community_id username public_metrics context_annotations entities geo edit_controls article"
)
POST_FIELDS = {
    "tweet.fields": frozenset(f"{_BOTH} edit_history_tweet_ids referenced_tweets note_tweet".split()),
    "post.fields": frozenset(f"{_BOTH} edit_history_post_ids referenced_posts note_post".split()),
}
# What the specification (2.167) knows of the latter: the rest it has as expansions only.
SPECIFIED = POST_FIELDS["post.fields"] - {
    "author_id",
    "in_reply_to_user_id",
    "edit_history_post_ids",
    "referenced_posts",
    "username",
}
EXPANSIONS = frozenset(
    "author_id in_reply_to_user_id referenced_posts referenced_tweets attachments.media_keys".split()
)
USER_FIELDS = frozenset(
    "id name username withheld created_at description entities location pinned_tweet_id profile_image_url protected "
    "public_metrics url verified verified_type parody".split()
)
TIMELINE_PARAMETERS = frozenset(
    "max_results pagination_token since_id until_id start_time end_time exclude expansions user.fields".split()
)


@dataclass(frozen=True, kw_only=True)
class FakePost:
    """A post of an account. What is missing of `id` and `created_at` follows from the one before."""

    text: str
    id: int = 0
    created_at: datetime | None = None
    retweet_of: int | None = None
    reply_to: int | None = None
    reply_to_user: int | None = None
    mentions: Mapping[str, int] = field(default_factory=dict)  # handle -> user id
    urls: tuple[str, ...] = ()
    note: str | None = None  # the full text, where `text` is its beginning
    note_urls: tuple[str, ...] = ()
    lang: str = "en"


def many_posts(count: int) -> list[str]:
    """Texts of which no two are the same."""
    return [f"Post number {n} of this account." for n in range(count)]


@dataclass(kw_only=True)
class FakeUser:
    """An account; its state may be changed at any time."""

    id: int
    handle: str
    name: str
    bio: str = ""
    protected: bool = False
    suspended: bool = False
    posts: list[FakePost] = field(default_factory=list)  # the newest last


@dataclass(kw_only=True)
class FakeX:
    """`x = FakeX(token="…"); x.install(net); x.add_user("nasa", posts=["One.", FakePost(text="Two.")])`."""

    token: str
    # Which names of fields it knows. `specified`: the new ones, and not one more than the specification has.
    knows: Literal["both", "old", "new", "specified"] = "both"
    echoes: bool = False  # whether errors repeat the token
    reach: int = 3200  # posts of an account that can be had
    page_sizes: list[int] = field(default_factory=list)  # how many posts the next pages hold at most, if fewer
    requests_per_window: int = 10_000
    window_s: float = 900.0
    users: dict[str, FakeUser] = field(default_factory=dict)
    delivered: Counter[int] = field(default_factory=Counter)  # post id -> how often
    billed_users: int = 0
    queries: list[dict[str, str]] = field(default_factory=list)  # those of timelines
    _faults: list[tuple[int, XAnswer]] = field(default_factory=list)  # and how many answers come before it
    _tokens: dict[str, int] = field(default_factory=dict)  # pagination token -> the id below which it goes on
    _tokens_made: int = 0
    _window_ends: float = 0.0
    _left: int = 0

    @property
    def billed_posts(self) -> int:
        return self.delivered.total()

    def install(self, net: FakeInternet) -> None:
        net.serve("api.x.com", self._answer)
        net.serve("api.twitter.com", self._answer)

    def add_user(self, handle: str, *, name: str = "", posts: Iterable[FakePost | str] = (), **state: Any) -> FakeUser:
        """A new account with its posts, the oldest first."""
        user = FakeUser(id=1000 + len(self.users), handle=handle, name=name or handle, **state)
        self.users[handle.casefold()] = user
        self.add_posts(handle, posts)
        return user

    def add_posts(self, handle: str, posts: Iterable[FakePost | str]) -> None:
        """Newer posts for an account, the oldest first."""
        user = self.users[handle.casefold()]
        for post in posts:
            new = FakePost(text=post) if isinstance(post, str) else post
            before = user.posts[-1] if user.posts else None
            after = before.created_at if before else None
            user.posts.append(
                replace(
                    new,
                    id=new.id or (before.id if before else user.id * 10**12) + 1000,
                    created_at=new.created_at or (after + timedelta(hours=1) if after else FIRST_POST_AT),
                )
            )

    def fail(self, fault: XAnswer, *, after: int = 0, times: int = 1) -> None:
        """Give this answer to the next request, or to that which comes after some more; so many times."""
        self._faults += [(after, fault), *[(0, fault)] * (times - 1)]

    def heal(self) -> None:
        """Give no more faults."""
        self._faults.clear()

    def expire_tokens(self) -> None:
        """Know no pagination token any more."""
        self._tokens.clear()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self._faults:
            before, fault = self._faults.pop(0)
            if before == 0:
                return await self._send(request, fault)
            self._faults.insert(0, (before - 1, fault))
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return await self._send(request, UNAUTHORIZED)
        if time.time() >= self._window_ends:
            self._window_ends, self._left = time.time() + self.window_s, self.requests_per_window
        if self._left == 0:
            return await self._send(request, rate_limit(self._window_ends - time.time()))
        self._left -= 1
        parts = request.path.strip("/").split("/")
        if request.method == "GET" and parts[:4] == ["2", "users", "by", "username"] and len(parts) == 5:
            answer = self._user(parts[4], request.query)
        elif request.method == "GET" and parts[:2] == ["2", "users"] and parts[3:] == ["tweets"]:
            self.queries.append(dict(request.query))
            answer = self._timeline(parts[2], request.query)
        else:
            answer = XAnswer(status=404, body={"title": "Not Found", "type": "about:blank", "status": 404})
        headers = limit_headers(self._left, int(self._window_ends), self.requests_per_window)
        return await self._send(request, replace(answer, headers=headers))

    async def _send(self, request: web.Request, answer: XAnswer) -> web.StreamResponse:
        if answer.delay_s:
            await asyncio.sleep(answer.delay_s)
        if answer.body is None:
            assert request.transport
            request.transport.abort()
            return web.Response()
        if isinstance(answer.body, str):
            return web.Response(
                status=answer.status, text=answer.body, content_type="text/html", headers=answer.headers
            )
        body: Mapping[str, Any] = answer.body
        reason = None
        if self.echoes and answer.status != 200:
            said = request.headers.get("Authorization", "")
            reason = said
            body = {**body, "title": f"{body.get('title')}: {said}", "detail": said, "errors": [{"message": said}]}
        return web.Response(
            status=answer.status,
            reason=reason,
            text=json.dumps(body),
            content_type="application/json",
            headers={"Content-Disposition": "attachment; filename=json.json", **answer.headers},
        )

    def _user(self, username: str, query: Mapping[str, str]) -> XAnswer:
        if refused := _unknown(query, {"user.fields": USER_FIELDS}) or _malformed_name(username):
            return refused
        user = self.users.get(username.casefold())
        if user is None or user.suspended:
            about = {"parameter": "username", "resource_type": "user", "resource_id": username, "value": username}
            detail = (
                f"User has been suspended: [{username}]."
                if user
                else f"Could not find user with username: [{username}]."
            )
            title = "Forbidden" if user else "Not Found Error"
            return XAnswer(body={"errors": [problem("resource-not-found", title, detail, **about)]})
        self.billed_users += 1
        known = {
            "id": str(user.id),
            "name": user.name,
            "username": user.handle,
            "description": user.bio,
            "protected": user.protected,
            "public_metrics": {"followers_count": 1, "following_count": 1, "tweet_count": len(user.posts)},
        }
        wanted = {"id", "name", "username", *query.get("user.fields", "").split(",")}
        return XAnswer(body={"data": {key: value for key, value in known.items() if key in wanted}})

    def _timeline(self, user_id: str, query: Mapping[str, str]) -> XAnswer:
        known = {
            "both": POST_FIELDS,
            "old": {"tweet.fields": POST_FIELDS["tweet.fields"]},
            "new": {"post.fields": POST_FIELDS["post.fields"]},
            "specified": {"post.fields": SPECIFIED},
        }[self.knows]
        fields = {**known, "user.fields": USER_FIELDS, "expansions": EXPANSIONS}
        if refused := _unknown(query, {**dict.fromkeys(TIMELINE_PARAMETERS), **fields}):
            return refused
        size = query.get("max_results", "10")
        if not size.isdecimal() or not 5 <= int(size) <= 100:
            return invalid_parameter("max_results", size, "is not between 5 and 100")
        bounds: dict[str, int] = {}
        for name in ("since_id", "until_id"):
            if not (value := query.get(name, "1")).isdecimal() or len(value) > 19:
                return invalid_parameter(name, value, "is not a valid Post id")
            bounds[name] = int(value) if name in query else 0
        token = query.get("pagination_token")
        if token is not None and token not in self._tokens:
            return invalid_parameter("pagination_token", token, "is not valid")
        user = next((u for u in self.users.values() if str(u.id) == user_id), None)
        about = {"parameter": "id", "resource_type": "user", "resource_id": user_id, "value": user_id}
        if user is None or user.suspended:
            detail = f"User has been suspended: [{user_id}]." if user else f"Could not find user with id: [{user_id}]."
            title = "Forbidden" if user else "Not Found Error"
            return XAnswer(body={"errors": [problem("resource-not-found", title, detail, **about)]})
        if user.protected:
            detail = f"Sorry, you are not authorized to see the user with id: [{user_id}]."
            return XAnswer(
                body={"errors": [problem("not-authorized-for-resource", "Authorization Error", detail, **about)]}
            )
        below = min(filter(None, (self._tokens.get(token or "", 0), bounds["until_id"])), default=10**19)
        return XAnswer(body=self._page(user, query, int(size), below=below, above=bounds["since_id"]))

    def _page(self, user: FakeUser, query: Mapping[str, str], size: int, *, below: int, above: int) -> dict[str, Any]:
        left_out = query.get("exclude", "").split(",")
        reach = REACH_WITHOUT_REPLIES if "replies" in left_out else self.reach
        reachable = [
            post
            for post in user.posts[-reach:]
            if above < post.id < below
            and not ("retweets" in left_out and post.retweet_of)
            and not ("replies" in left_out and post.reply_to)
        ]
        most = min(size, self.page_sizes.pop(0)) if self.page_sizes else size
        shown = reachable[::-1][:most]
        if not shown:
            return {"meta": {"result_count": 0, **({"next_token": self._token(below)} if reachable else {})}}
        self.delivered.update(post.id for post in shown)
        meta: dict[str, Any] = {
            "result_count": len(shown),
            "newest_id": str(shown[0].id),
            "oldest_id": str(shown[-1].id),
        }
        if len(shown) == most:  # even if nothing comes after
            meta["next_token"] = self._token(shown[-1].id)
        word = "post" if "post.fields" in query else "tweet"
        wanted = set(query.get(f"{word}.fields", "").split(",")) | set(query.get("expansions", "").split(","))
        answer: dict[str, Any] = {"data": [_rendered(post, user, word, wanted) for post in shown], "meta": meta}
        if missing := [post.reply_to for post in shown if post.reply_to] if "expansions" in query else []:
            detail = "Could not find {} with ids: [{}]."
            answer["errors"] = [
                problem("resource-not-found", "Not Found Error", detail.format(word, other), parameter="id")
                for other in missing
            ]
        return answer

    def _token(self, below: int) -> str:
        self._tokens_made += 1
        token = f"7140dibdnow9c7btw4{self._tokens_made:08x}"
        self._tokens[token] = below
        return token


def _rendered(post: FakePost, user: FakeUser, word: str, wanted: set[str]) -> dict[str, Any]:
    assert post.created_at
    references = [
        {"type": kind, "id": str(other)}
        for kind, other in (("retweeted", post.retweet_of), ("replied_to", post.reply_to))
        if other
    ]
    known: dict[str, Any] = {
        "author_id": str(user.id),
        "created_at": f"{post.created_at:%Y-%m-%dT%H:%M:%S}.000Z",
        "lang": post.lang,
        f"referenced_{word}s": references,
        "in_reply_to_user_id": str(post.reply_to_user) if post.reply_to_user else None,
        "entities": {
            key: value
            for key, value in {
                "urls": _urls(post.urls),
                "mentions": [{"username": name, "id": str(number)} for name, number in post.mentions.items()],
            }.items()
            if value
        },
        f"note_{word}": {"text": post.note, "entities": {"urls": _urls(post.note_urls)}} if post.note else None,
    }
    always = {"id": str(post.id), "text": post.text, f"edit_history_{word}_ids": [str(post.id)]}
    return {**always, **{key: value for key, value in known.items() if key in wanted and value}}


def _urls(urls: Iterable[str]) -> list[dict[str, Any]]:
    return [{"start": 0, "end": 1, "url": url, "expanded_url": "https://example.org/", "status": 200} for url in urls]


def _unknown(query: Mapping[str, str], known: Mapping[str, frozenset[str] | None]) -> XAnswer | None:
    """X's refusal of the first parameter or value that it does not know."""
    for name, value in query.items():
        if name not in known:
            message = f"The query parameter [{name}] is not one of [{','.join(sorted(known))}]"
            return invalid_request({name: [value]}, message)
        values = known[name]
        for one in value.split(",") if values is not None else ():
            if values is not None and one not in values:
                return invalid_parameter(name, one, f"is not one of [{','.join(sorted(values))}]")
    return None


def _malformed_name(username: str) -> XAnswer | None:
    if username.isascii() and username.replace("_", "a").isalnum() and len(username) <= 15:
        return None
    return invalid_parameter("username", username, "does not match ^[A-Za-z0-9_]{1,15}$")
