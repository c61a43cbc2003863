"""What X's API says when it gives no posts: problem JSON as its documents and reports of 2025 and 2026 show it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PROBLEMS = "https://api.x.com/2/problems/"


@dataclass(frozen=True, kw_only=True)
class XAnswer:
    """A status and a body: JSON or HTML, None if the connection breaks. `delay_s` is waited before."""

    status: int = 200
    body: Mapping[str, Any] | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


def problem(kind: str, title: str, detail: str, **more: Any) -> dict[str, Any]:
    """A problem object of that type."""
    return {"title": title, "detail": detail, "type": f"{PROBLEMS}{kind}", **more}


UNAUTHORIZED = XAnswer(
    status=401, body={"title": "Unauthorized", "type": "about:blank", "status": 401, "detail": "Unauthorized"}
)
CREDITS_DEPLETED = XAnswer(
    status=402,
    body=problem(
        "credits",
        "CreditsDepleted",
        "Your enrolled account [1] does not have any credits to fulfill this request.",
        account_id=1,
    ),
)
PAYMENT_REQUIRED = XAnswer(
    status=402, body=problem("credits-depleted", "Payment Required", "credits depleted", status=402)
)
NOT_ENROLLED = XAnswer(
    status=403,
    body=problem(
        "client-forbidden",
        "Client Forbidden",
        "When authenticating requests to the Twitter API v2 endpoints, you must use keys and tokens from a Twitter "
        "developer App that is attached to a Project.",
        reason="client-not-enrolled",
        required_enrollment="Appropriate Level of API Access",
        client_id="1",
        registration_url="https://developer.x.com/en/docs/projects/overview",
    ),
)
FORBIDDEN = XAnswer(
    status=403, body={"title": "Forbidden", "type": "about:blank", "status": 403, "detail": "Forbidden"}
)
PROTECTED = XAnswer(
    status=403,
    body=problem(
        "not-authorized-for-resource",
        "Authorization Error",
        "Sorry, you are not authorized to see the user with id: [1].",
        resource_type="user",
        parameter="id",
    ),
)
USAGE_CAP = XAnswer(
    status=429,
    body=problem(
        "usage-capped",
        "UsageCapExceeded",
        "Usage cap exceeded: Monthly product cap",
        period="Monthly",
        scope="Product",
        product_name="standard-basic",
        account_id=1,
    ),
)
SERVER_ERROR = XAnswer(
    status=503, body=problem("service-unavailable", "Service Unavailable", "Service Unavailable", status=503)
)
HTML_ERROR = XAnswer(status=502, body="<!DOCTYPE html><title>api.x.com | 502: Bad gateway</title>")
CHALLENGE = XAnswer(status=403, body="<!DOCTYPE html><title>Just a moment...</title>")
BROKEN = XAnswer()
NO_ANSWER = XAnswer(status=200, body={}, delay_s=30.0)


def rate_limit(reset_in_s: float | None = 0.0) -> XAnswer:
    """Too many requests; None: the header that says until when is missing."""
    headers = {} if reset_in_s is None else limit_headers(0, int(time.time() + reset_in_s))
    return XAnswer(
        status=429,
        body={"title": "Too Many Requests", "detail": "Too Many Requests", "type": "about:blank", "status": 429},
        headers=headers,
    )


def invalid_parameter(name: str, value: str, why: str) -> XAnswer:
    """The refusal of a parameter's value."""
    return invalid_request({name: [value]}, f"The `{name}` query parameter value [{value}] {why}")


def invalid_request(parameters: dict[str, Any], message: str) -> XAnswer:
    """The refusal of a request for its parameters."""
    return XAnswer(
        status=400,
        body=problem(
            "invalid-request",
            "Invalid Request",
            "One or more parameters to your request was invalid.",
            errors=[{"parameters": parameters, "message": message}],
        ),
    )


def limit_headers(left: int, reset: int, limit: int = 10_000) -> dict[str, str]:
    """The headers that tell of the rate limit."""
    return {"x-rate-limit-limit": str(limit), "x-rate-limit-remaining": str(left), "x-rate-limit-reset": str(reset)}
