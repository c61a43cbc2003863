"""Small exports of a Mastodon account, as Mastodon 4 writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

ACTOR_ID = "https://toots.test/users/robin"
PUBLIC = "https://www.w3.org/ns/activitystreams#Public"
FOLLOWERS = f"{ACTOR_ID}/followers"

Json = dict[str, Any]


def actor(**fields: Any) -> Json:
    """actor.json."""
    return {
        "@context": ["https://www.w3.org/ns/activitystreams", {"toot": "http://joinmastodon.org/ns#"}],
        "id": ACTOR_ID,
        "type": "Person",
        "preferredUsername": "robin",
        "name": "Robin :bird: Redbreast",
        "summary": "<p>Sings at dawn.</p>",
        "indexable": False,
        "tag": [{"id": "https://toots.test/emojis/1", "type": "Emoji", "name": ":bird:"}],
    } | fields


def create(number: int, content: str, *, to: object = (PUBLIC,), cc: object = (FOLLOWERS,), **fields: Any) -> Json:
    """An activity of outbox.json that made a post."""
    address = f"{ACTOR_ID}/statuses/{number}"
    addressed = {"to": list(to) if isinstance(to, tuple) else to, "cc": list(cc) if isinstance(cc, tuple) else cc}
    note = {
        "id": address,
        "type": "Note",
        "summary": None,
        "inReplyTo": None,
        "published": "2022-12-01T08:00:00Z",
        "url": f"https://toots.test/@robin/{number}",
        "attributedTo": ACTOR_ID,
        **addressed,
        "sensitive": False,
        "content": content,
        "contentMap": {"en": content},
        "attachment": [],
        "tag": [],
    } | fields
    return {
        "id": f"{address}/activity",
        "type": "Create",
        "actor": ACTOR_ID,
        "published": "2022-12-01T08:00:00Z",
        **addressed,
        "object": note,
    }


def announce(number: int, boosted: object, *, to: Sequence[str] = (PUBLIC,)) -> Json:
    """An activity of outbox.json that boosted a post."""
    return {
        "id": f"{ACTOR_ID}/statuses/{number}/activity",
        "type": "Announce",
        "actor": ACTOR_ID,
        "published": "2022-12-01T08:00:00Z",
        "to": list(to),
        "cc": [FOLLOWERS],
        "object": boosted,
    }


def outbox(*items: object) -> str:
    """outbox.json as Mastodon writes it: in one line, with a count that is not to be relied on."""
    return json.dumps(
        {
            "@context": "https://www.w3.org/ns/activitystreams",
            "id": "outbox.json",
            "type": "OrderedCollection",
            "totalItems": 3,
            "orderedItems": items,
        }
    )
