"""X's API v2, through tweepy: an account's newest posts, for which the operator pays one by one.

Since August 2026 the API calls tweets posts in its fields too. It answers in the words it was asked with, and still
knows the old ones; both are understood here, and the new ones used when the old ones are refused.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import tweepy
from tweepy.asynchronous import AsyncClient
from yarl import URL

from models.records import X_REACH, X_TOKEN, Post, Profile
from models.source_errors import (
    AccountNotFound,
    AccountProtected,
    AccountSuspended,
    OutOfCredit,
    RateLimited,
    SourceDown,
    SourceError,
    SourceRefused,
    UsageCapped,
)
from trainer.sources.base import Access
from trainer.sources.fields import MAX_NAME_CHARS, as_text, one_line, opt_out_tag, post_from
from trainer.sources.pages import Page
from trainer.sources.web import RETRY_DELAYS_S, Answer, read_answer, reset_of

WHERE = "X"
HOST = "api.x.com"  # tweepy knows its old name only, api.twitter.com
PAGE_POSTS = 100  # the most that a page can hold
MIN_PAGE_POSTS = 5  # and the least that may be asked for
HEARING_S = 5.0  # between two looks at whether the work is to stop: what is on its way then is paid for
MAX_EMPTY_PAGES = 10  # in a row; a page can be empty before the end

USER_FIELDS = ("description", "name", "protected", "public_metrics", "username")
_FIELDS = "created_at,entities,in_reply_to_user_id,lang,text"
# The third is the new specification to its letter. It comes last because what it expands is billed too.
SPELLINGS: tuple[Mapping[str, str], ...] = (
    {"tweet.fields": f"{_FIELDS},note_tweet,referenced_tweets"},
    {"post.fields": f"{_FIELDS},note_post,referenced_posts"},
    {
        "post.fields": "created_at,entities,lang,note_post,text",
        "expansions": "in_reply_to_user_id,referenced_posts",
    },
)

_HANDLE = re.compile(r"[A-Za-z0-9_]{1,15}\Z")
_ID = re.compile(r"[0-9]{1,19}\Z")
_TOKEN = re.compile(r"[!-~]+\Z")  # what a header may hold


class XApi:
    """An account's newest 3,200 posts at most. Needs the variable X_BEARER_TOKEN."""

    def __init__(self, access: Access) -> None:
        self._web = access.web
        self._pages = access.pages
        self._limit = min(access.settings.max_posts, X_REACH)
        self._spelling = 0  # the first of SPELLINGS that has not been refused

    async def profile(self, handle: str | None) -> Profile:
        """Who the account is, as X spells it; AccountNotFound, AccountSuspended or AccountProtected otherwise."""
        user = await self._user(handle)
        metrics = user.get("public_metrics")
        counts = metrics if isinstance(metrics, dict) else {}
        bio = as_text(user.get("description")) or ""
        tag = opt_out_tag(bio)
        username = user["username"]
        return Profile(
            handle=username,
            name=one_line(as_text(user.get("name")) or "", MAX_NAME_CHARS) or username,
            bio=bio,
            posts=_count(counts.get("tweet_count", counts.get("post_count"))),
            opted_out=f"Its bio says {tag}." if tag else None,
        )

    async def posts(self, handle: str, since: str | None = None) -> AsyncIterator[Post]:
        """The newest posts first, replies and retweets among them, and no more of them than the settings say."""
        user_id = (await self._user(handle))["id"]
        newer_than = {"since_id": since} if since and _ID.match(since) else {}
        client = _client(self._web.session, handle)
        asked = empty = 0
        oldest: int | None = None
        seen: set[str] = set()

        async def fetch(mark: str | None) -> Page:
            """The page at a mark: a pagination token, and after a space the `until_id` that it continues."""
            token, _, until = (mark or "").partition(" ")
            count = max(MIN_PAGE_POSTS, min(PAGE_POSTS, self._limit - asked))
            params = {"max_results": str(count), **newer_than, **({"until_id": until} if until else {})}
            try:
                more = {"pagination_token": token} if token else {}
                answer = await self._timeline(client, handle, user_id, {**params, **more})
            except _TokenRefused:  # it is too old: go on below what is here
                until = str(oldest) if oldest is not None else ""
                below = {"until_id": until} if until else {}
                answer = await self._timeline(client, handle, user_id, {**params, **below})
            following = as_text(answer["meta"].get("next_token"))
            return Page(answer=answer, next=f"{following} {until}".rstrip() if following else None)

        async for answer in self._pages.walk(fetch):
            records = _records(answer)
            asked += len(records)
            for record in records:
                post = post_from(record, fallback_id=f"{user_id}.{len(seen)}")
                if post is None or post.id in seen or len(seen) >= self._limit:
                    continue
                seen.add(post.id)
                if _ID.match(post.id):
                    oldest = min(int(post.id), oldest or int(post.id))
                yield post
            empty = 0 if records else empty + 1
            if asked >= self._limit or empty >= MAX_EMPTY_PAGES:
                return

    async def _user(self, handle: str | None) -> dict[str, Any]:
        """The user object, with usable `id` and `username`; bought once. Only that of a readable account is kept."""
        name = (handle or "").removeprefix("@")
        if not _HANDLE.match(name):
            raise AccountNotFound(name, where=WHERE)

        async def fetch() -> dict[str, Any]:
            client = _client(self._web.session, name)
            answer = await self._ask(name, lambda: client.get_user(username=name, user_fields=list(USER_FIELDS)))
            user = answer.get("data")
            if not isinstance(user, dict):
                raise _trouble(answer, name) or SourceDown(name, where=WHERE, reason="it sends no account")
            user_id, username = as_text(user.get("id")), as_text(user.get("username"))
            if not (user_id and _ID.match(user_id) and username and _HANDLE.match(username)):
                raise SourceDown(name, where=WHERE, reason="it sends an account without a usable id or handle")
            if user.get("protected") is True:
                raise AccountProtected(name, where=WHERE)
            return {**user, "id": user_id, "username": username}

        kept: dict[str, Any] = await self._pages.once("profile", fetch)
        return kept

    async def _timeline(
        self, client: AsyncClient, handle: str, user_id: str, params: Mapping[str, str]
    ) -> dict[str, Any]:
        """An answer with `meta`. _TokenRefused if it is the pagination token that X does not like."""

        async def call(spelling: Mapping[str, str]) -> Any:
            # Not `get_users_tweets`: it knows the old names only.
            response = await client.request("GET", f"/2/users/{user_id}/tweets", params={**params, **spelling})
            return await response.json()

        for number in range(self._spelling, len(SPELLINGS)):
            try:
                answer = await self._ask(handle, partial(call, SPELLINGS[number]))
            except _BadRequest as exc:
                if exc.is_about_token:
                    break
                continue
            self._spelling = number
            if not _records(answer) and (trouble := _trouble(answer, handle)):
                raise trouble
            if not isinstance(answer.get("meta"), dict):
                raise SourceDown(handle, where=WHERE, reason="it sends no page of posts")
            return answer
        raise (_TokenRefused if "pagination_token" in params else _BadRequest)(handle)

    async def _ask(self, handle: str, call: Callable[[], Coroutine[Any, Any, Any]]) -> dict[str, Any]:
        """The JSON object that X answers with. Rate limits are waited for and what may pass is tried again.

        Typed errors for all else, without a word of what X, tweepy or aiohttp said: that could repeat the token.
        """
        for delay_s in (*RETRY_DELAYS_S, None):
            refusal: Answer | None = None
            body: Any = None
            try:
                body = await self._web.heard(call(), every_s=HEARING_S)
                reason = "its answer is no JSON"
            except tweepy.HTTPException as exc:
                refusal = exc.response.answer
                reason = f"it answers with error {refusal.status}"
            except (aiohttp.ClientError, OSError, TimeoutError) as exc:
                reason = _reason(exc)
            if isinstance(body, dict):
                return body
            if refusal and refusal.status == 429 and not _trouble(refusal.body, handle):
                await self._web.wait_for_limit(reset_of(refusal.headers), handle=handle, where=WHERE)
                continue
            # Other refusals that are no JSON come from something in front of X, and pass.
            if refusal and refusal.status < 500 and (refusal.status in (401, 402) or isinstance(refusal.body, dict)):
                raise _refusal(refusal, handle)
            if delay_s is None:
                raise SourceDown(handle, where=WHERE, reason=reason)
            await self._web.pause(delay_s)
        raise RateLimited(handle, where=WHERE, until=None)


class _BadRequest(SourceDown):
    """X does not understand a parameter."""

    def __init__(self, handle: str, *, is_about_token: bool = False) -> None:
        super().__init__(handle, where=WHERE, reason="it does not understand what I ask")
        self.is_about_token = is_about_token


class _TokenRefused(_BadRequest):
    """X does not take a pagination token, most likely for its age."""


class _Reply:
    """What tweepy sees of an answer: the status, and the body of a good one.

    Of a refusal it would read the body and headers in ways that break on surprises, and repeat them in its exception.
    """

    reason = ""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.status = answer.status
        self.headers: dict[str, str] = {}

    async def read(self) -> None:
        """Nothing: it has been read."""

    async def json(self) -> Any:
        return self.answer.body if 200 <= self.status < 300 else {}


class _Session:
    """tweepy's way to X's present host, over the connections that all sources use."""

    def __init__(self, session: aiohttp.ClientSession, handle: str) -> None:
        self._session = session
        self._handle = handle

    @asynccontextmanager
    async def request(self, method: str, url: str, **options: Any) -> AsyncIterator[_Reply]:
        target = URL(url).with_host(HOST)
        # A redirect could take the token elsewhere.
        async with self._session.request(method, target, allow_redirects=False, **options) as response:
            answer = await read_answer(response, where=WHERE, handle=self._handle)
        yield _Reply(answer)


def _client(session: aiohttp.ClientSession, handle: str) -> AsyncClient:
    """tweepy's client, with the operator's token; SourceRefused without a usable one."""
    token = os.environ.get(X_TOKEN, "").strip()
    if not _TOKEN.match(token):
        said = "is not set" if not token else "holds characters that no token has"
        raise SourceRefused(handle, where=WHERE, reason=f"the environment variable {X_TOKEN} {said}.")
    for name in ("tweepy", "tweepy.asynchronous.client"):  # below INFO it logs headers, the token among them
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.INFO))
    client = AsyncClient(bearer_token=token, return_type=dict, wait_on_rate_limit=False)
    client.session = _Session(session, handle)
    return client


def _refusal(answer: Answer, handle: str) -> SourceError:
    """The error that a JSON answer of status 3xx or 4xx stands for."""
    if answer.status == 400:
        return _BadRequest(handle, is_about_token=_is_about_token(answer.body))
    if answer.status == 401:
        return SourceRefused(handle, where=WHERE, reason=f"it does not accept the bearer token in {X_TOKEN}.")
    if answer.status == 402:
        return OutOfCredit(handle, where=WHERE)
    if trouble := _trouble(answer.body, handle):
        return trouble
    if answer.status == 403:
        return SourceRefused(handle, where=WHERE, reason="it does not allow this app to read posts.")
    return SourceDown(handle, where=WHERE, reason=f"it answers with error {answer.status}")


def _trouble(body: Any, handle: str) -> SourceError | None:
    """The error that an answer's problems tell of, whatever its status; None if they tell of none.

    The types come with either of X's host names: only their ends are told apart.
    """
    for problem in _problems(body):
        kind = (as_text(problem.get("type")) or "").rpartition("/")[2]
        title = as_text(problem.get("title")) or ""
        detail = (as_text(problem.get("detail")) or "").casefold()
        if kind == "usage-capped" or title == "UsageCapExceeded":
            period = as_text(problem.get("period")) or ""
            return UsageCapped(handle, where=WHERE, period=period if period in ("Daily", "Monthly") else "allowed")
        if kind in ("credits", "credits-depleted"):
            return OutOfCredit(handle, where=WHERE)
        if kind == "client-forbidden" or as_text(problem.get("reason")) == "client-not-enrolled":
            return SourceRefused(handle, where=WHERE, reason="the plan of the operator's app does not cover this.")
        if kind == "resource-not-found":
            # Both have one type; the title of a suspended account is "Forbidden", its detail says the rest.
            is_closed = title == "Forbidden" or "suspended" in detail or "deactivated" in detail
            return AccountSuspended(handle, where=WHERE) if is_closed else AccountNotFound(handle, where=WHERE)
        if kind == "not-authorized-for-resource":
            return AccountProtected(handle, where=WHERE)
    return None


def _problems(body: Any) -> Iterator[dict[str, Any]]:
    """The problem objects of an answer: itself, and its `errors`."""
    if isinstance(body, dict):
        yield body
        errors = body.get("errors")
        yield from (error for error in (errors if isinstance(errors, list) else ()) if isinstance(error, dict))


def _is_about_token(body: Any) -> bool:
    for problem in _problems(body):
        parameters = problem.get("parameters")
        if "`pagination_token`" in (as_text(problem.get("message")) or "") or (
            isinstance(parameters, dict) and list(parameters) == ["pagination_token"]
        ):
            return True
    return False


def _records(answer: dict[str, Any]) -> list[dict[str, Any]]:
    data = answer.get("data")
    return [record for record in data if isinstance(record, dict)] if isinstance(data, list) else []


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None


def _reason(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "it does not answer in time"
    # That of a failed connection is our own side's text, all others can hold the server's.
    return str(exc) if isinstance(exc, aiohttp.ClientConnectorError) else f"the connection broke: {type(exc).__name__}"
