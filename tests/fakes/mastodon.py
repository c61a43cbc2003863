"""A stand-in for a Mastodon server: webfinger, account lookup and statuses, as its documents and source tell of them.

https://docs.joinmastodon.org/methods/accounts/, https://docs.joinmastodon.org/spec/webfinger/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from tests.fakes.internet import FakeInternet

DEFAULT_LIMIT = 20
MAX_LIMIT = 40
REQUESTS_PER_WINDOW = 300
WINDOW = timedelta(minutes=5)
FIRST_ID = 109_000_000_000_000_000  # ids tell the time, in steps of many
ID_STEP = 65_536
START = datetime(2022, 12, 1, 8, 0, tzinfo=UTC)

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What is answered instead."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class FakeMastodon:
    """`server = FakeMastodon(net=net, domain="toots.test")`; with `home` the accounts live on another host than that.

    `failures` holds, for "webfinger", "lookup" or "statuses", what is answered instead, in turn, None for the usual.
    A right server shows only what is public or unlisted; one that `leaks` shows all.
    """

    net: FakeInternet
    domain: str = "toots.test"
    home: str = ""
    leaks: bool = False
    failures: dict[str, list[Failure | None]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    accounts: dict[str, Json] = field(default_factory=dict)
    fingers: dict[str, Json] = field(default_factory=dict)  # acct -> what webfinger says of it
    statuses: dict[str, list[Json]] = field(default_factory=dict)  # account id -> its statuses, oldest first
    _made: int = 0

    def __post_init__(self) -> None:
        self.home = self.home or self.domain
        for host in {self.domain, self.home}:
            self.net.serve(host, self._answer)

    def add_account(self, username: str, **fields: Any) -> Json:
        """An account that lets itself be found; `fields` change what the API says of it."""
        account_id = self._next_id()
        self.accounts[username.lower()] = account = {
            "id": account_id,
            "username": username,
            "acct": username,
            "display_name": username.title(),
            "locked": False,
            "bot": False,
            "discoverable": True,
            "indexable": True,
            "group": False,
            "noindex": False,
            "created_at": "2022-11-01T00:00:00.000Z",
            "note": "",
            "url": f"https://{self.home}/@{username}",
            "uri": f"https://{self.home}/users/{username}",
            "followers_count": 5,
            "following_count": 7,
            "statuses_count": 0,
            "emojis": [],
            "fields": [],
        } | fields
        self.statuses[account_id] = []
        finger = finger_of(f"{username}@{self.domain}", self.home)
        self.fingers[f"{username}@{self.domain}".lower()] = self.fingers[f"{username}@{self.home}".lower()] = finger
        return account

    def post(self, account: Json, content: str, **fields: Any) -> Json:
        """A public status of an account, a minute after the one before."""
        status_id = self._next_id()
        at = START + timedelta(minutes=self._made)
        status = {
            "id": status_id,
            "created_at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "in_reply_to_id": None,
            "in_reply_to_account_id": None,
            "sensitive": False,
            "spoiler_text": "",
            "visibility": "public",
            "language": "en",
            "uri": f"{account['uri']}/statuses/{status_id}",
            "url": f"{account['url']}/{status_id}",
            "content": content,
            "reblog": None,
            "account": account,
            "media_attachments": [],
            "mentions": [],
            "tags": [],
            "emojis": [],
            "card": None,
            "poll": None,
            "edited_at": None,
        } | fields
        self.statuses[account["id"]].append(status)
        account["statuses_count"] += 1
        return status

    def _next_id(self) -> str:
        self._made += 1
        return str(FIRST_ID + ID_STEP * self._made)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        match request.path.strip("/").split("/"):
            case [".well-known", "webfinger"]:
                kind, answer = "webfinger", self._webfinger
            case ["api", "v1", "accounts", "lookup"]:
                kind, answer = "lookup", self._lookup
            case ["api", "v1", "accounts", _, "statuses"]:
                kind, answer = "statuses", self._statuses
            case _:
                return error(404, "Not Found")
        self.asked[kind] += 1
        failures = self.failures.get(kind)
        if failures and (failure := failures.pop(0)):
            return web.json_response(failure.body, status=failure.status, headers=failure.headers)
        response = answer(request)
        reset = datetime.now(UTC) + WINDOW
        response.headers["X-RateLimit-Limit"] = str(REQUESTS_PER_WINDOW)
        response.headers["X-RateLimit-Remaining"] = str(REQUESTS_PER_WINDOW - self.asked.total())
        response.headers["X-RateLimit-Reset"] = reset.isoformat(timespec="microseconds").replace("+00:00", "Z")
        return response

    def _webfinger(self, request: web.Request) -> web.Response:
        resource = request.query.get("resource", "")
        if not resource:
            return web.Response(status=400)
        finger = self.fingers.get(resource.removeprefix("acct:").lower())
        return web.json_response(finger, content_type="application/jrd+json") if finger else web.Response(status=404)

    def _lookup(self, request: web.Request) -> web.Response:
        acct = request.query.get("acct", "").lower().removesuffix(f"@{self.domain}")
        account = self.accounts.get(acct) if request.host == self.home else None
        return web.json_response(account) if account else error(404, "Record not found")

    def _statuses(self, request: web.Request) -> web.Response:
        query = request.query
        account_id = request.path.split("/")[4]
        if account_id not in self.statuses or request.host != self.home:
            return error(404, "Record not found")
        found = [s for s in reversed(self.statuses[account_id]) if self.leaks or s["visibility"] in SHOWN]
        if query.get("exclude_reblogs") == "true":
            found = [s for s in found if not s["reblog"]]
        if query.get("exclude_replies") == "true":
            found = [s for s in found if s["in_reply_to_account_id"] in (None, account_id)]
        if max_id := query.get("max_id"):
            found = [s for s in found if int(s["id"]) < int(max_id)]
        if since_id := query.get("since_id"):
            found = [s for s in found if int(s["id"]) > int(since_id)]
        limit = min(int(query.get("limit", DEFAULT_LIMIT)), MAX_LIMIT)
        page = found[:limit]
        kept = {key: value for key, value in query.items() if key not in ("max_id", "since_id", "min_id")}
        links = []
        if len(page) == limit:  # the last page has no next one, unless it is full
            links.append(f'<{request.url.with_query(kept | {"max_id": page[-1]["id"]})}>; rel="next"')
        if page:
            links.append(f'<{request.url.with_query(kept | {"min_id": page[0]["id"]})}>; rel="prev"')
        return web.json_response(page, headers={"Link": ", ".join(links)} if links else {})


SHOWN = ("public", "unlisted")


def error(status: int, text: str) -> web.Response:
    """An error as the API words it."""
    return web.json_response({"error": text}, status=status)


def finger_of(subject: str, home: str) -> Json:
    """What webfinger says of an account."""
    user = subject.split("@")[0]
    return {
        "subject": f"acct:{subject}",
        "aliases": [f"https://{home}/@{user}", f"https://{home}/users/{user}"],
        "links": [
            {
                "rel": "http://webfinger.net/rel/profile-page",
                "type": "text/html",
                "href": f"https://{home}/@{user}",
            },
            {"rel": "self", "type": "application/activity+json", "href": f"https://{home}/users/{user}"},
            {
                "rel": "http://ostatus.org/schema/1.0/subscribe",
                "template": f"https://{home}/authorize_interaction?uri={{uri}}",
            },
        ],
    }


def mention(user: str, host: str) -> str:
    """A mention as it stands in a status."""
    return (
        f'<span class="h-card" translate="no"><a href="https://{host}/@{user}" class="u-url mention">'
        f"@<span>{user}</span></a></span>"
    )


def link(address: str) -> str:
    """A link as it stands in a status: shortened for the eye."""
    rest = address.removeprefix("https://")
    return (
        f'<a href="{address}" target="_blank" rel="nofollow noopener" translate="no"><span class="invisible">https://'
        f'</span><span class="ellipsis">{rest[:12]}</span><span class="invisible">{rest[12:]}</span></a>'
    )


def hashtag(word: str, host: str) -> str:
    """A hashtag as it stands in a status."""
    return f'<a href="https://{host}/tags/{word}" class="mention hashtag" rel="tag">#<span>{word}</span></a>'
