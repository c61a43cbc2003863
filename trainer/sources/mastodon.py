"""Public posts of an account of the fediverse, from its own server by Mastodon's API, without logging in.

API: https://docs.joinmastodon.org/methods/accounts/ and https://docs.joinmastodon.org/spec/webfinger/
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from yarl import URL

from models.errors import NothingGiven
from models.records import Post, Profile
from models.source_errors import AccountNotFound, AccountSuspended, LoginNeeded, ServerClosed, SourceDown
from trainer.sources.base import Access
from trainer.sources.fields import (
    MAX_NAME_CHARS,
    as_handle,
    as_language,
    as_text,
    one_line,
    opt_out_tag,
    parse_time,
    same_handle,
)
from trainer.sources.html_text import html_text, without_emoji
from trainer.sources.pages import Page
from trainer.sources.web import Answer, NotPublic, require_public

PAGE_POSTS = 40  # the API's maximum
SPARE_PAGES = 10
PAGES_PER_FULL_ONE = 4  # how many are asked for to fill one: most of an account's posts may be unlisted
MAX_BIO_CHARS = 20_000  # servers allow 500 and a few fields, some of them more

_NONSENSE = "its answer makes no sense"
_CONTRADICTION = "it and the account's own server don't agree who that is"
_ACTOR_TYPES = ("application/activity+json", "application/ld+json")
_USER = re.compile(r"[\w.-]{1,64}", re.ASCII)
_DOMAIN = re.compile(r"[\w.-]{1,100}")
_ID = re.compile(r"[\w-]{1,100}", re.ASCII)
_NEXT_LINK = re.compile(r'<([^<>]*+)>[^<,]*?;\s*rel="?next\b', re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class _Account:
    handle: str
    home: str  # the host of its server, which may differ from the handle's domain
    id: str


class Mastodon:
    """The posts of one account, `user@server`, that everybody may read and that are listed as its own."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._account: _Account | None = None

    async def profile(self, handle: str | None) -> Profile:
        """Who the account is, by its own server's word; asked for anew by each job, as its owner may say no meanwhile.

        AccountNotFound, AccountSuspended, LoginNeeded, SourceDown, RateLimited; NothingGiven without a handle.
        """
        if handle is None:
            raise NothingGiven()
        handle, home = await self._find(handle.lstrip("@"))
        user = handle.partition("@")[0]
        found = await self._ask(f"https://{home}/api/v1/accounts/lookup", {"acct": user}, handle=handle)
        account = found.body if isinstance(found.body, dict) else {}
        account_id = _id(account.get("id"))
        if account_id is None or not same_handle(as_text(account.get("username")) or "", user):
            raise SourceDown(handle, where=home, reason=_NONSENSE)
        if account.get("suspended") is True or account.get("limited") is True:
            raise AccountSuspended(handle, where=home)
        self._account = _Account(handle=handle, home=home, id=account_id)
        emoji = _shortcodes(account)
        name = one_line(without_emoji(as_text(account.get("display_name")) or "", emoji), MAX_NAME_CHARS)
        bio = without_emoji(_bio(account), emoji)
        return Profile(
            handle=handle,
            name=name or user,
            bio=bio[:MAX_BIO_CHARS],
            posts=_count(account.get("statuses_count")),
            opted_out=_refusal(account, f"{name}\n{bio}"),
        )

    async def posts(self, handle: str, since: str | None = None) -> AsyncIterator[Post]:
        """The newest posts first, boosts as retweets without their text; at most `max_posts`.

        Of posts that are not public, unlisted ones too, nothing is kept. ServerClosed, or the errors of `profile`.
        """
        if self._account is None or not same_handle(self._account.handle, handle):
            await self.profile(handle)
        account = self._account
        assert account is not None
        self._require_open(account.home, account.handle)
        url = f"https://{account.home}/api/v1/accounts/{account.id}/statuses"
        fixed = {"limit": str(PAGE_POSTS), "exclude_reblogs": "false"}
        if since is not None and _ID.fullmatch(since):  # an archive of another server's software has others
            fixed["since_id"] = since

        async def fetch(max_id: str | None) -> Page:
            asked = fixed if max_id is None else {**fixed, "max_id": max_id}
            answer = await self._ask(url, asked, handle=account.handle)
            if not isinstance(answer.body, list):
                raise SourceDown(account.handle, where=account.home, reason=_NONSENSE)
            public = [status for status in answer.body if _is_public(status)]
            return Page(answer=public, next=_next_id(answer, account) if answer.body else None)

        limit = self._access.settings.max_posts
        seen: set[str] = set()
        pages = 0
        async for statuses in self._access.pages.walk(fetch):
            pages += 1
            for status in statuses:
                post = _post(status, account.id)
                if post is None or post.id in seen:
                    continue
                seen.add(post.id)
                yield post
                if len(seen) == limit:
                    return
            if pages >= SPARE_PAGES + PAGES_PER_FULL_ONE * limit // PAGE_POSTS:
                return

    async def _find(self, handle: str) -> tuple[str, str]:
        """The account's true handle and the host of its server.

        The handle's domain has to vouch for it, and the server too: neither may lend itself another's name.
        """
        asked = _canonical(handle)
        if asked is None:
            raise AccountNotFound(handle, where="Mastodon")
        subject, home = await self._finger(asked, asked.split("@")[1])
        if not same_handle(subject, asked):  # an alias: a domain of one's own that points to an account
            asked = subject
            subject, home = await self._finger(asked, asked.split("@")[1])
        user, domain = subject.split("@")
        if home != domain and same_handle(subject, asked):
            at_home = f"{user}@{home}"
            subject, other = await self._finger(at_home, home)
            if other != home or not (same_handle(subject, asked) or same_handle(subject, at_home)):
                raise SourceDown(handle, where=domain, reason=_CONTRADICTION)
        elif not same_handle(subject, asked):
            raise SourceDown(handle, where=domain, reason=_CONTRADICTION)
        return subject, home

    async def _finger(self, handle: str, host: str) -> tuple[str, str]:
        """What a host's webfinger says: the account's handle and the host of its server."""
        answer = await self._access.web.get(
            f"https://{host}/.well-known/webfinger", handle=handle, params={"resource": f"acct:{handle}"}
        )
        if answer.status in (400, 404):
            raise AccountNotFound(handle, where=host)
        if answer.status == 410:
            raise AccountSuspended(handle, where=host)
        if answer.status != 200:
            raise SourceDown(handle, where=host, reason=f"it answers with error {answer.status}")
        body = answer.body if isinstance(answer.body, dict) else {}
        subject = _canonical((as_text(body.get("subject")) or "").removeprefix("acct:"))
        home = next((found for link in _dicts(body.get("links")) if (found := _home(link))), None)
        if subject is None or home is None:
            raise SourceDown(handle, where=host, reason=_NONSENSE)
        return subject, home

    async def _ask(self, url: str, params: Mapping[str, str], *, handle: str) -> Answer:
        """The answer, with status 200. What servers say of an error is not passed on: it is anybody's text."""
        answer = await self._access.web.get(url, handle=handle, params=params)
        where = URL(url).host or url
        if answer.status in (401, 403):
            raise LoginNeeded(handle, where=where)
        if answer.status == 404:
            raise AccountNotFound(handle, where=where)
        if answer.status == 410:
            raise AccountSuspended(handle, where=where)
        if answer.status != 200:
            raise SourceDown(handle, where=where, reason=f"it answers with error {answer.status}")
        return answer

    def _require_open(self, home: str, handle: str) -> None:
        """ServerClosed if the terms of the account's server, under either of its names, forbid this."""
        closed = {server.casefold() for server in self._access.settings.closed_servers}
        for host in (home, handle.partition("@")[2]):
            if host.casefold() in closed:
                raise ServerClosed(handle, where=host.casefold())


def _canonical(handle: str) -> str | None:
    """`user@domain`, the domain in lower case and ASCII; None if it can't be a handle."""
    user, _, domain = handle.rpartition("@")
    if not _USER.fullmatch(user) or not _DOMAIN.fullmatch(domain) or "." not in domain.strip("."):
        return None
    try:
        host = URL.build(scheme="https", host=domain.lower()).raw_host
    except ValueError:
        return None
    return as_handle(f"{user}@{host}")


def _home(link: dict[str, Any]) -> str | None:
    """The host that a webfinger link names as the account's server, None if it is another link."""
    kind = as_text(link.get("type")) or ""
    if link.get("rel") != "self" or not kind.startswith(_ACTOR_TYPES):
        return None
    try:
        url = URL(as_text(link.get("href")) or "")
        require_public(url)
    except (ValueError, NotPublic):
        return None
    return url.raw_host


def _next_id(answer: Answer, account: _Account) -> str | None:
    """The max_id of the next page; None if there is none. SourceDown if that page is not the server's own."""
    link = _NEXT_LINK.search(answer.headers.get("Link", ""))
    if link is None:
        return None
    try:
        url = answer.url.join(URL(link[1]))
    except ValueError:
        url = URL()
    max_id = _id(url.query.get("max_id"))
    if max_id is None or url.raw_host not in (answer.url.raw_host, account.home):
        raise SourceDown(account.handle, where=account.home, reason=_NONSENSE)
    return max_id


def _is_public(status: object) -> bool:
    return isinstance(status, dict) and status.get("visibility") == "public"


def _post(status: dict[str, Any], account_id: str) -> Post | None:
    """The post, None if it has no id. A boost's text is the address of what it boosts, which is not the account's."""
    post_id = _id(status.get("id"))
    if post_id is None:
        return None
    created_at = parse_time(status.get("created_at"))
    boosted = status.get("reblog")
    if isinstance(boosted, dict):
        text = as_text(boosted.get("url")) or as_text(boosted.get("uri")) or ""
        return Post(id=post_id, text=text, is_escaped=False, created_at=created_at, is_retweet=True)
    answered = as_text(status.get("in_reply_to_account_id"))
    mentioned = (m for m in _dicts(status.get("mentions")) if as_text(m.get("id")) == answered)
    return Post(
        id=post_id,
        text=without_emoji(html_text(as_text(status.get("content")) or ""), _shortcodes(status)),
        is_escaped=False,
        created_at=created_at,
        reply_to_id=_id(status.get("in_reply_to_id")) if answered == account_id else None,
        reply_to_handle=next((as_handle(m.get("acct")) for m in mentioned), None) if answered else None,
        lang=as_language(status.get("language")),
    )


def _bio(account: dict[str, Any]) -> str:
    """The bio and the profile's fields, as text."""
    fields = (
        f"{html_text(as_text(entry.get('name')) or '')}: {html_text(as_text(entry.get('value')) or '')}"
        for entry in _dicts(account.get("fields"))
    )
    return "\n".join([html_text(as_text(account.get("note")) or ""), *fields])


def _refusal(account: dict[str, Any], words: str) -> str | None:
    """How the account says that it does not want this; None if it does not."""
    if account.get("memorial") is True:
        return "The account is kept in memory of somebody who has died."
    if tag := opt_out_tag(words):
        return f"Its profile says {tag}."
    if account.get("noindex") is True:
        return "It asks search engines to leave it out (noindex)."
    indexable = account.get("indexable")
    if indexable is True or (indexable is None and account.get("noindex") is False):
        return None
    return "It has not allowed that its public posts are found by searching (indexable)."


def _shortcodes(holder: dict[str, Any]) -> set[str]:
    return {code for emoji in _dicts(holder.get("emojis")) if (code := as_text(emoji.get("shortcode")))}


def _id(value: object) -> str | None:
    """An id as it came: letters and digits that mean nothing here; None if it can't be one."""
    text = as_text(value)
    return text if text is not None and _ID.fullmatch(text) else None


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53
    return value if is_count and isinstance(value, int) else None


def _dicts(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
