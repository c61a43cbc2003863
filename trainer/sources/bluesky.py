"""Posts of a Bluesky account: the records in its own repository, asked of the server that keeps it.

Reposts are records of another collection and never come. Who names an account chooses that server, so nothing that it
sends is believed. The protocol: atproto.com/specs (did, handle, record-key, tid, xrpc) and the lexicons of app.bsky.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from yarl import URL

from models.errors import NothingGiven
from models.records import Post, Profile
from models.source_errors import AccountNotFound, AccountSuspended, SourceDown
from trainer.sources.base import Access
from trainer.sources.fields import as_handle, as_text, one_line, opt_out_tag, parse_time, same_handle
from trainer.sources.pages import Page
from trainer.sources.web import NotPublic, require_public

WHERE = "Bluesky"
APP = "https://public.api.bsky.app"  # what people who are not signed in see
DIRECTORY = "https://plc.directory"

PAGE_POSTS = 100  # the most that com.atproto.repo.listRecords gives
SPARE_PAGES = 50  # for posts without text and the like, over what `max_posts` takes four times
MAX_TEXT_BYTES = 3_000  # app.bsky.feed.post allows no more, and the app shows nobody what is longer
MAX_NAME_CHARS = 640
MAX_BIO_CHARS = 2_560
MAX_CURSOR_CHARS = 1_024
MAX_POSTS = 1 << 40
AHEAD = timedelta(days=1)  # that a clock may be wrong by

POSTS = "app.bsky.feed.post"
AI_PREFERENCE = "community.lexicon.preference.ai"  # lexicon-community/lexicon, pull request 72
INTENTS = ("org.user-intents.declaration", "org.user-intents.demo.declaration")  # Bluesky's proposal 0008

_HANDLE = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_DID = re.compile(r"did:(?:plc:[a-z2-7]{24}|web:[a-z0-9.-]{1,253})\Z")
_TID = r"[2-7a-j][2-7a-z]{12}"  # a time in base 32: the later, the greater
_POST_URI = re.compile(rf"at://(did:[a-z]+:[A-Za-z0-9._:%-]{{1,300}})/app\.bsky\.feed\.post/({_TID})\Z")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8}){0,4}\Z")
_ADDRESS = re.compile(r"\S*\w\.\w\S*\Z")  # example.com/abc...; a link on a plain word is the author's own word

_CLOSED = {"AccountTakedown", "AccountDeactivated", "AccountSuspended"}
_CLOSED |= {"RepoTakendown", "RepoDeactivated", "RepoSuspended"}
_CLOSING_LABELS = {"!hide", "!takedown", "!suspend"}
_SIGNED_IN_ONLY = "!no-unauthenticated"
_MISSING = {"RepoNotFound", "AccountNotFound", "HandleNotFound"}
_MISSING_MESSAGE = re.compile(  # of an InvalidRequest
    r"unable to resolve handle|profile not found|could not find (?:repo|user)|must be a valid", re.IGNORECASE
)
_ERROR_NAME = re.compile(r"[A-Za-z]{1,40}\Z")


@dataclass(frozen=True, kw_only=True)
class _Account:
    did: str
    handle: str
    server: URL  # the personal data server (PDS) with its repository


class Bluesky:
    """The posts of an account on Bluesky, or on any other server of its protocol."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._account: _Account | None = None

    async def profile(self, handle: str | None) -> Profile:
        """The account of a handle (`nasa.bsky.social`) or DID, with the handle that it has now.

        `opted_out` tells of labels, bios and records that say no. AccountNotFound, AccountSuspended, SourceDown,
        RateLimited; NothingGiven without a handle.
        """
        if handle is None:
            raise NothingGiven
        account = await self._find(handle)
        seen = await self._ask(URL(APP), "app.bsky.actor.getProfile", {"actor": account.did}, account.handle)
        if seen.get("did") != account.did:
            raise _senseless(account.handle)
        labels = _labels(seen)
        if labels & _CLOSING_LABELS:
            raise AccountSuspended(account.handle, where=WHERE)
        name = one_line(as_text(seen.get("displayName")) or "", MAX_NAME_CHARS) or account.handle
        bio = (as_text(seen.get("description")) or "")[:MAX_BIO_CHARS]
        posts = seen.get("postsCount")
        return Profile(
            handle=account.handle,
            name=name,
            bio=bio,
            posts=posts if type(posts) is int and 0 <= posts < MAX_POSTS else None,
            opted_out=await self._opted_out(account, labels, f"{name}\n{bio}"),
        )

    async def posts(self, handle: str, since: str | None = None) -> AsyncIterator[Post]:
        """The account's posts and answers, newest first, `max_posts` at most. A post's id is its record key."""
        account = await self._find(handle)
        known = since if since and re.fullmatch(_TID, since) else ""  # an id of another source is older than all
        left = self._access.settings.max_posts
        pages_left = 4 * left // PAGE_POSTS + SPARE_PAGES
        seen: set[str] = set()

        async def fetch(cursor: str | None) -> Page:
            return await self._records(account, POSTS, cursor)

        async with aclosing(self._access.pages.walk(fetch)) as pages:
            async for records in pages:
                for record in records:
                    did, key = _post_uri(record)
                    if did != account.did or key in seen:
                        continue
                    if key <= known:
                        return
                    seen.add(key)
                    if post := _post(record, did, key):
                        yield post
                        left -= 1
                        if left == 0:
                            return
                pages_left -= 1
                if pages_left == 0:
                    return

    async def _find(self, name: str) -> _Account:
        """The account of a handle or DID, with a handle that leads to it and that it calls its own."""
        asked = name.strip().lstrip("@").lower()
        if self._account and same_handle(self._account.handle, asked):
            return self._account
        did = asked if _DID.match(asked) else await self._resolve(asked, asked)
        document = await self._document(did, asked)
        handle = _own_handle(document)
        # Anybody can lay claim to a handle in a document of their own: only a handle that leads back here counts.
        if handle is None or (handle != asked and await self._resolve(handle, asked) != did):
            raise AccountNotFound(asked, where=WHERE)
        self._account = _Account(did=did, handle=handle, server=_server(document, did, handle))
        return self._account

    async def _resolve(self, handle: str, asked: str) -> str:
        if len(handle) > 253 or not _HANDLE.match(handle):
            raise AccountNotFound(asked, where=WHERE)
        answer = await self._ask(URL(APP), "com.atproto.identity.resolveHandle", {"handle": handle}, asked)
        did = answer.get("did")
        if not isinstance(did, str) or not _DID.match(did):
            raise AccountNotFound(asked, where=WHERE)
        return did

    async def _document(self, did: str, handle: str) -> dict[str, Any]:
        """The DID's document: whose handle it is, and which server keeps its repository."""
        host = did.removeprefix("did:web:")
        url = f"https://{host}/.well-known/did.json" if did.startswith("did:web:") else f"{DIRECTORY}/{did}"
        answer = await self._access.web.get(url, handle=handle)
        if answer.status in (404, 410):  # 410: the DID was given up
            raise AccountNotFound(handle, where=WHERE)
        if answer.status != 200 or not isinstance(answer.body, dict) or answer.body.get("id") != did:
            raise _senseless(handle)
        return answer.body

    async def _opted_out(self, account: _Account, labels: set[str], words: str) -> str | None:
        """How the account says no to this, in a sentence; None if it does not."""
        if _SIGNED_IN_ONLY in labels:
            return f"It shows itself only to people who are signed in ({_SIGNED_IN_ONLY})."
        if tag := opt_out_tag(words):
            return f"Its bio says {tag}."
        if any(_denies_training(r) for r in (await self._records(account, AI_PREFERENCE)).answer):
            return f"Its AI preferences forbid training, or making synthetic content ({AI_PREFERENCE})."
        for collection in INTENTS:
            if any(_denies_synthesis(r) for r in (await self._records(account, collection)).answer):
                return f"It has declared that nothing synthetic may be generated from its posts ({collection})."
        return None

    async def _records(self, account: _Account, collection: str, cursor: str | None = None) -> Page:
        """One page of the records in a collection of its repository, those of the greatest keys first."""
        params = {"repo": account.did, "collection": collection, "limit": str(PAGE_POSTS)}
        if cursor is not None:
            params["cursor"] = cursor
        answer = await self._ask(account.server, "com.atproto.repo.listRecords", params, account.handle)
        records, following = answer.get("records"), answer.get("cursor")
        if not isinstance(records, list):
            raise _senseless(account.handle)
        has_more = isinstance(following, str) and 0 < len(following) <= MAX_CURSOR_CHARS
        return Page(answer=records[:PAGE_POSTS], next=following if has_more else None)

    async def _ask(self, server: URL, method: str, params: Mapping[str, str], handle: str) -> dict[str, Any]:
        """The answer to an XRPC query. Errors are {"error": name, "message": text}; the text is a stranger's."""
        answer = await self._access.web.get(server / "xrpc" / method, handle=handle, params=params)
        body = answer.body if isinstance(answer.body, dict) else {}
        if answer.status == 200 and body:
            return body
        if answer.status == 200:
            raise _senseless(handle)
        error, message = body.get("error"), body.get("message")
        if not isinstance(error, str) or not _ERROR_NAME.match(error):
            error = ""
        if error in _CLOSED:
            raise AccountSuspended(handle, where=WHERE)
        is_missing = error == "InvalidRequest" and isinstance(message, str) and _MISSING_MESSAGE.search(message[:200])
        if error in _MISSING or is_missing:
            raise AccountNotFound(handle, where=WHERE)
        raise SourceDown(handle, where=server.host or WHERE, reason=f"it answers with error {error or answer.status}")


def _senseless(handle: str) -> SourceDown:
    return SourceDown(handle, where=WHERE, reason="its answer makes no sense")


def _own_handle(document: dict[str, Any]) -> str | None:
    """The first handle that a DID document lays claim to."""
    names = document.get("alsoKnownAs")
    for name in names if isinstance(names, list) else ():
        if isinstance(name, str) and name.startswith("at://"):
            return as_handle(name.removeprefix("at://").lower())
    return None


def _server(document: dict[str, Any], did: str, handle: str) -> URL:
    """The personal data server in a DID document; SourceDown if there is none on the public web."""
    services = document.get("service")
    for service in services if isinstance(services, list) else ():
        if not isinstance(service, dict) or service.get("type") != "AtprotoPersonalDataServer":
            continue
        if service.get("id") not in ("#atproto_pds", f"{did}#atproto_pds"):
            continue
        endpoint = service.get("serviceEndpoint")
        try:
            url = URL(endpoint if isinstance(endpoint, str) else "")
            require_public(url)
        except (ValueError, NotPublic) as exc:
            reason = "the account says that its posts lie on a server that is not on the public web"
            raise SourceDown(handle, where=WHERE, reason=reason) from exc
        return url.origin()
    raise SourceDown(handle, where=WHERE, reason="the account names no server with its posts")


def _labels(seen: dict[str, Any]) -> set[str]:
    """What the account and Bluesky's moderators say of it."""
    labels = seen.get("labels")
    return {
        label["val"]
        for label in (labels if isinstance(labels, list) else ())
        if isinstance(label, dict) and isinstance(label.get("val"), str) and label.get("neg") is not True
    }


def _value(record: object) -> dict[str, Any]:
    value = record.get("value") if isinstance(record, dict) else None
    return value if isinstance(value, dict) else {}


def _denies(settings: object, name: str) -> bool:
    setting = settings.get(name) if isinstance(settings, dict) else None
    return isinstance(setting, dict) and setting.get("allow") is False


def _denies_training(record: object) -> bool:
    """Whether an AI preference, for whatever part of the repository, says no. Those for others than us don't count."""
    value = _value(record)
    scope = value.get("scope")
    if isinstance(scope, dict) and str(scope.get("$type")).endswith("#entityScope"):
        return False
    return any(_denies(value.get("preferences"), name) for name in ("training", "syntheticContent"))


def _denies_synthesis(record: object) -> bool:
    return _denies(_value(record), "syntheticContentGeneration")


def _post_uri(record: object) -> tuple[str, str]:
    """The DID and the key of a post's record, or of what points to one; empty if it is something else."""
    uri = record.get("uri") if isinstance(record, dict) else None
    found = _POST_URI.match(uri) if isinstance(uri, str) else None
    return (found[1], found[2]) if found else ("", "")


def _post(record: object, did: str, key: str) -> Post | None:
    value = _value(record)
    text = value.get("text")
    said = as_text(text) if isinstance(text, str) else None
    if value.get("$type") != POSTS or not isinstance(text, str) or said is None:
        return None
    if len(text) > MAX_TEXT_BYTES or len(said.encode()) > MAX_TEXT_BYTES:
        return None
    reply = value.get("reply")
    author, answered = _post_uri(reply.get("parent") if isinstance(reply, dict) else None)
    languages = value.get("langs")
    language = languages[0] if isinstance(languages, list) and languages else None
    created_at = parse_time(value.get("createdAt"))
    return Post(
        id=key,
        text=said,
        is_escaped=False,
        created_at=created_at if created_at and created_at < datetime.now(UTC) + AHEAD else None,
        reply_to_id=answered if author == did else None,
        links=_links(text, value.get("facets")),
        lang=language if isinstance(language, str) and _LANGUAGE.match(language) else None,
    )


def _links(text: str, facets: object) -> tuple[str, ...]:
    """The links as they stand in the text. Facets count its UTF-8 bytes; one that overlaps an earlier one is void."""
    try:
        data = text.encode()
    except UnicodeEncodeError:  # half a surrogate pair: nobody could have counted its bytes
        return ()
    spans = sorted(span for facet in (facets if isinstance(facets, list) else ()) if (span := _link_span(facet)))
    links: dict[str, None] = {}  # a set that keeps order
    end = 0
    for byte_start, byte_end in spans:
        if not end <= byte_start < byte_end <= len(data):
            continue
        try:
            link = data[byte_start:byte_end].decode().strip()
        except UnicodeDecodeError:  # it begins or ends within a character
            continue
        end = byte_end
        if _ADDRESS.match(link):
            links[link] = None
    return tuple(links)


def _link_span(facet: object) -> tuple[int, int] | None:
    if not isinstance(facet, dict):
        return None
    features, index = facet.get("features"), facet.get("index")
    if not isinstance(features, list) or not isinstance(index, dict):
        return None
    if not any(isinstance(f, dict) and f.get("$type") == "app.bsky.richtext.facet#link" for f in features):
        return None
    start, end = index.get("byteStart"), index.get("byteEnd")
    return (start, end) if type(start) is int and type(end) is int else None
