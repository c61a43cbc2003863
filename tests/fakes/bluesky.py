"""A stand-in for Bluesky: its app's public API, the directory of DIDs, and personal data servers (PDS).

It speaks what the lexicons and the reference servers say: parameters are checked, errors are HTTP 400 with
{"error", "message"}, and a page's cursor is the key of its last record, so that the page after the last one is empty.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.internet import FakeInternet

APP = "public.api.bsky.app"
DIRECTORY = "plc.directory"
POSTS = "app.bsky.feed.post"
_BASE32 = "234567abcdefghijklmnopqrstuvwxyz"


def tid(number: int) -> str:
    """A record key: that many seconds after the first of 2024, in base 32."""
    value = (1_704_067_200 + number) * 1_000_000 << 10
    return "".join(_BASE32[value >> shift & 31] for shift in range(60, -1, -5))


def facet(text: str, link: str) -> dict[str, Any]:
    """A facet over the first `link` in the text, as clients write it: it counts UTF-8 bytes."""
    start = len(text[: text.index(link)].encode())
    return {
        "index": {"byteStart": start, "byteEnd": start + len(link.encode())},
        "features": [{"$type": "app.bsky.richtext.facet#link", "uri": "https://example.com/abc"}],
    }


@dataclass(kw_only=True)
class FakeAccount:
    """An account, whose fields a test changes before it asks. `records` maps collections to keys to values."""

    did: str
    handle: str
    server: str
    name: str = "Wren"
    bio: str = "I post."
    labels: list[dict[str, Any]] = field(default_factory=list)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)  # over what its DID document says

    def post(self, text: str, number: int = 0, **record: Any) -> str:
        """Add a post and return its key."""
        key = tid(number)
        value = {"$type": POSTS, "text": text, "createdAt": "2024-01-01T00:00:00.000Z", **record}
        self.records.setdefault(POSTS, {})[key] = value
        return key

    def uri(self, key: str) -> str:
        return f"at://{self.did}/{POSTS}/{key}"


class FakeBluesky:
    """`FakeBluesky(net).add()`; `broken[method]` is an answer given instead of the right one: (status, body)."""

    def __init__(self, net: FakeInternet) -> None:
        self.net = net
        self.accounts: list[FakeAccount] = []
        self.handles: dict[str, str] = {}  # handle -> DID, as the handles' own domains say
        self.broken: dict[str, tuple[int, Any]] = {}
        net.serve(APP, self._xrpc)
        net.serve(DIRECTORY, self._directory)

    def add(
        self,
        handle: str = "wren.bsky.social",
        did: str = "did:plc:wrenwrenwrenwrenwrenwren",
        server: str = "morel.us-east.host.bsky.network",
    ) -> FakeAccount:
        """A new account with its repository on the server."""
        account = FakeAccount(did=did, handle=handle, server=server)
        self.accounts.append(account)
        self.handles[handle] = did
        if did.startswith("did:web:"):
            self.net.serve(did.removeprefix("did:web:"), self._well_known)
        self.net.serve(server, self._xrpc)
        return account

    def asked(self, host: str, method: str, collection: str = "") -> int:
        """How often a host was asked for a method."""
        return sum(method in path and collection in path for path in self.net.asked_of(host))

    async def _directory(self, request: web.Request) -> web.StreamResponse:
        return self._document(request.path.removeprefix("/"))

    async def _well_known(self, request: web.Request) -> web.StreamResponse:
        if request.path != "/.well-known/did.json":
            return web.Response(status=404, text="Not Found")
        return self._document(f"did:web:{request.host.partition(':')[0]}")

    def _document(self, did: str) -> web.Response:
        if "document" in self.broken:
            return _given(self.broken["document"])
        account = next((a for a in self.accounts if a.did == did), None)
        if account is None:
            return web.json_response({"message": f"DID not registered: {did}"}, status=404)
        document = {
            "@context": ["https://www.w3.org/ns/did/v1"],
            "id": did,
            "alsoKnownAs": [f"at://{account.handle}"],
            "verificationMethod": [{"id": f"{did}#atproto", "type": "Multikey", "controller": did}],
            "service": [
                {
                    "id": "#atproto_pds",
                    "type": "AtprotoPersonalDataServer",
                    "serviceEndpoint": f"https://{account.server}",
                }
            ],
        }
        return web.json_response({**document, **account.document})

    async def _xrpc(self, request: web.Request) -> web.StreamResponse:
        method = request.path.removeprefix("/xrpc/")
        if method in self.broken:
            return _given(self.broken[method])
        host = request.host.partition(":")[0]
        if host == APP and method == "com.atproto.identity.resolveHandle":
            return self._resolve(request.query)
        if host == APP and method == "app.bsky.actor.getProfile":
            return self._profile(request.query)
        if host != APP and method == "com.atproto.repo.listRecords":
            return self._records(host, request.query)
        return _error("MethodNotImplemented", "Method Not Implemented", status=501)

    def _resolve(self, query: Any) -> web.Response:
        handle = query.get("handle", "")
        if "." not in handle:
            return _error("InvalidRequest", "Error: handle must be a valid handle")
        if handle not in self.handles:
            return _error("InvalidRequest", "Unable to resolve handle")
        return web.json_response({"did": self.handles[handle]})

    def _profile(self, query: Any) -> web.Response:
        actor = query.get("actor", "")
        account = next((a for a in self.accounts if actor in (a.did, a.handle)), None)
        if account is None:
            return _error("InvalidRequest", "Profile not found")
        return web.json_response(
            {
                "did": account.did,
                "handle": account.handle,
                "displayName": account.name,
                "description": account.bio,
                "postsCount": len(account.records.get(POSTS, {})),
                "labels": account.labels,
                "createdAt": "2023-05-01T00:00:00.000Z",
            }
        )

    def _records(self, host: str, query: Any) -> web.Response:
        collection, cursor, limit = query.get("collection"), query.get("cursor"), query.get("limit", "50")
        if not collection or not query.get("repo"):
            return _error("InvalidRequest", "Error: Params must have the property " + '"repo" and "collection"')
        if not limit.isdecimal() or not 1 <= int(limit) <= 100:
            return _error("InvalidRequest", "Error: limit can not be greater than 100")
        account = next((a for a in self.accounts if a.server == host and query["repo"] in (a.did, a.handle)), None)
        if account is None:
            return _error("RepoNotFound", f"Could not find repo: {query['repo']}")
        values = account.records.get(collection, {})
        keys = sorted((k for k in values if cursor is None or k < cursor), reverse=True)[: int(limit)]
        records = [
            {"uri": f"at://{account.did}/{collection}/{key}", "cid": "bafyreib", "value": values[key]} for key in keys
        ]
        return web.json_response({"records": records, **({"cursor": keys[-1]} if keys else {})})


def _given(answer: tuple[int, Any]) -> web.Response:
    status, body = answer
    if isinstance(body, str):
        return web.Response(status=status, text=body, content_type="application/json")
    return web.json_response(body, status=status, dumps=json.dumps)


def _error(name: str, message: str, *, status: int = 400) -> web.Response:
    return web.json_response({"error": name, "message": message}, status=status)
