"""What a person reads at the end of a job whose posts can't be had: a sentence of its own for each reason."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bot.config import Config
from bot.records import CONSOLE, JobState
from models.errors import OutOfRange, SourceOff
from models.source_errors import ServerClosed
from tests.bot.platforms import HANDLES, PDS, TOOTS, Platforms, begin, fetching, hasty
from tests.bot.quick import end_of
from tests.fakes import x_answers
from tests.fakes.bluesky import POSTS
from tests.fakes.children.orders import Orders
from tests.fakes.internet import FakeInternet
from tests.fakes.mastodon import Failure, FakeMastodon
from tests.fakes.x_answers import XAnswer
from tests.fakes.x_api import FakeX

OWN = " If it is your own account, choose the ground “my own account” and prove it, or attach your archive."
LATER = " What came so far is kept: /jobs retry goes on "


@pytest.fixture
def platforms(net: FakeInternet, x: FakeX) -> Platforms:
    return Platforms.on(net, x)


async def errors_of(config: Config, orders: Orders, *handles: str) -> dict[str, str | None]:
    """How a training of each of the accounts ended."""
    errors = {}
    async with hasty(config, orders) as service:
        for handle in handles:
            job = await end_of(service, (await begin(service, handle)).id)
            assert job.state == JobState.FAILED, handle
            errors[handle] = job.error
        assert service.library.visible(CONSOLE) == []
    return errors


async def test_an_account_on_x_that_cannot_be_learned_is_refused_in_words(
    quick: Config, orders: Orders, platforms: Platforms
) -> None:
    x = platforms.x
    x.add_user("gone", suspended=True)
    x.add_user("shy", protected=True)
    x.add_user("unwilling", bio="Birds. #NoAI", posts=["A post."])
    x.add_user("silent")
    x.add_user("terse", posts=["One post is not enough for a voice."])
    assert await errors_of(fetching(quick), orders, "@nobody", "@gone", "@shy", "@unwilling", "@silent", "@terse") == {
        "@nobody": "There is no account @nobody on X. Is the handle spelled right?",
        "@gone": "@gone is suspended or deactivated on X.",
        "@shy": "The posts of @shy are protected on X: only followers may read them, and I don't learn them.",
        "@unwilling": f"@unwilling is not learned: Its bio says #NoAI.{OWN}",
        "@silent": "I found nothing to learn from @silent: no posts. Is this the right account?",
        "@terse": "@terse: only 35 characters of text are left after cleaning, and a voice needs at least 6,000. "
        "Add an archive with more posts.",
    }
    assert x.billed_posts == 1  # nothing is paid for of who said no


async def test_an_account_on_bluesky_that_cannot_be_learned_is_refused_in_words(
    quick: Config, orders: Orders, platforms: Platforms
) -> None:
    for name in ("hidden", "away", "unwilling", "prefers", "intends", "declares"):
        platforms.post("bluesky", 3, of=name)
    accounts = {account.handle.partition(".")[0]: account for account in platforms.bluesky.accounts}
    accounts["hidden"].labels = [{"val": "!no-unauthenticated", "src": accounts["hidden"].did}]
    accounts["away"].labels = [{"val": "!takedown", "src": "did:plc:moderation"}]
    accounts["unwilling"].bio = "Birds #nobot"
    no = {"allow": False}
    for name, collection, record in (
        ("prefers", "community.lexicon.preference.ai", {"preferences": {"training": no}}),
        ("intends", "org.user-intents.declaration", {"syntheticContentGeneration": no}),
        ("declares", "org.user-intents.demo.declaration", {"syntheticContentGeneration": no}),
    ):
        accounts[name].records[collection] = {"self": record}
    handles = [f"{name}.bsky.social" for name in ("nobody", *accounts)]
    errors = await errors_of(quick, orders, *handles)
    declared = "It has declared that nothing synthetic may be generated from its posts"
    assert {handle.partition(".")[0]: error for handle, error in errors.items()} == {
        "nobody": "There is no account @nobody.bsky.social on Bluesky. Is the handle spelled right?",
        "away": "@away.bsky.social is suspended or deactivated on Bluesky.",
        **{
            name: f"@{name}.bsky.social is not learned: {reason}{OWN}"
            for name, reason in {
                "hidden": "It shows itself only to people who are signed in (!no-unauthenticated).",
                "unwilling": "Its bio says #nobot.",
                "prefers": "Its AI preferences forbid training, or making synthetic content "
                "(community.lexicon.preference.ai).",
                "intends": f"{declared} (org.user-intents.declaration).",
                "declares": f"{declared} (org.user-intents.demo.declaration).",
            }.items()
        },
    }
    pds = accounts["away"].server
    assert platforms.bluesky.asked(pds, "listRecords", POSTS) == 0  # of who said no, not a post was asked for


async def test_an_account_on_mastodon_that_cannot_be_learned_is_refused_in_words(
    quick: Config, orders: Orders, platforms: Platforms
) -> None:
    toots = platforms.toots
    states: dict[str, dict[str, Any]] = {
        "gone": {"suspended": True},
        "unwilling": {"note": "<p>Birds. #nobot</p>"},
        "fields": {"fields": [{"name": "AI", "value": "#NoAI"}]},
        "unlisted": {"indexable": False},
        "old": {"noindex": True},
        "dead": {"memorial": True},
    }
    for name, state in states.items():
        toots.post(toots.add_account(name, **state), "<p>A post of three words and more.</p>")
    errors = await errors_of(quick, orders, *(f"@{name}@{TOOTS}" for name in ("nobody", *states)))
    assert {handle.split("@")[1]: error for handle, error in errors.items()} == {
        "nobody": f"There is no account @nobody@{TOOTS} on {TOOTS}. Is the handle spelled right?",
        "gone": f"@gone@{TOOTS} is suspended or deactivated on {TOOTS}.",
        **{
            name: f"@{name}@{TOOTS} is not learned: {reason}{OWN}"
            for name, reason in {
                "unwilling": "Its profile says #nobot.",
                "fields": "Its profile says #NoAI.",
                "unlisted": "It has not allowed that its public posts are found by searching (indexable).",
                "old": "It asks search engines to leave it out (noindex).",
                "dead": "The account is kept in memory of somebody who has died.",
            }.items()
        },
    }
    assert toots.asked["statuses"] == 0


FAULTS: dict[str, tuple[XAnswer, str]] = {
    "bad token": (
        x_answers.UNAUTHORIZED,
        "X refuses: it does not accept the bearer token in X_BEARER_TOKEN. The operator has to mend it.",
    ),
    "no credits": (
        x_answers.CREDITS_DEPLETED,
        f"The operator's credit with X is used up.{LATER}when there is credit again.",
    ),
    "payment required": (
        x_answers.PAYMENT_REQUIRED,
        f"The operator's credit with X is used up.{LATER}when there is credit again.",
    ),
    "usage cap": (
        x_answers.USAGE_CAP,
        f"The operator's monthly number of posts from X is used up.{LATER}when the cap is raised or starts anew.",
    ),
    "plan": (
        x_answers.NOT_ENROLLED,
        "X refuses: the plan of the operator's app does not cover this. The operator has to mend it.",
    ),
    "forbidden": (
        x_answers.FORBIDDEN,
        "X refuses: it does not allow this app to read posts. The operator has to mend it.",
    ),
    "protected meanwhile": (
        x_answers.PROTECTED,
        "The posts of @finch are protected on X: only followers may read them, and I don't learn them.",
    ),
    "down": (x_answers.SERVER_ERROR, f"X can't be reached (it answers with error 503).{LATER}later."),
    "HTML error": (x_answers.HTML_ERROR, f"X can't be reached (it answers with error 502).{LATER}later."),
    "challenge": (x_answers.CHALLENGE, f"X can't be reached (it answers with error 403).{LATER}later."),
    "rate limit": (x_answers.rate_limit(3000), f"X lets me ask no more for now.{LATER}after THEN UTC."),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_trouble_of_x_in_the_middle_of_a_pull_is_told_and_the_retry_pays_for_nothing_twice(
    quick: Config, orders: Orders, platforms: Platforms, fault: str
) -> None:
    answer, expected = FAULTS[fault]
    x = platforms.x
    platforms.post("x", 250)
    x.fail(answer, after=2, times=5)  # after the profile and the first page
    async with hasty(fetching(quick), orders) as service:
        failed = await end_of(service, (await begin(service, HANDLES["x"])).id)
        assert failed.state == JobState.FAILED
        assert re.sub(r"[\d-]{10} \d\d:\d\d", "THEN", failed.error or "") == expected
        assert x.billed_posts == 100
        x.heal()
        again = await end_of(service, (await service.retry(CONSOLE, failed.id)).id)
        assert (again.state, again.error) == (JobState.DONE, None)
    assert set(x.delivered.values()) == {1}
    assert (x.billed_posts, x.billed_users) == (250, 1)


RECORDS = "com.atproto.repo.listRecords"
PROFILE = "app.bsky.actor.getProfile"
SKY_TROUBLES: tuple[tuple[str, int, object, str], ...] = (
    (RECORDS, 502, "<html>Bad gateway</html>", f"{PDS} can't be reached (it answers with error 502).{LATER}later."),
    (RECORDS, 200, "<html>Maintenance</html>", f"Bluesky can't be reached (its answer makes no sense).{LATER}later."),
    (RECORDS, 429, {"error": "RateLimitExceeded"}, f"{PDS} lets me ask no more for now.{LATER}in an hour."),
    (RECORDS, 400, {"error": "RepoDeactivated"}, "@finch.bsky.social is suspended or deactivated on Bluesky."),
    (PROFILE, 400, {"error": "AccountTakedown"}, "@finch.bsky.social is suspended or deactivated on Bluesky."),
    ("document", 404, {}, "There is no account @finch.bsky.social on Bluesky. Is the handle spelled right?"),
)
LOGIN = (
    f"{TOOTS} shows posts only to people who are logged in there, and I am not. If @finch@{TOOTS} is your own account, "
)
TOOT_TROUBLES: tuple[tuple[str, int, object, str], ...] = (
    ("webfinger", 503, "<html>", f"{TOOTS} can't be reached (it answers with error 503).{LATER}later."),
    ("webfinger", 200, "<html>", f"{TOOTS} can't be reached (its answer makes no sense).{LATER}later."),
    ("lookup", 401, {"error": "This API requires an authenticated user"}, f"{LOGIN}attach its archive."),
    ("statuses", 401, {"error": "This API requires an authenticated user"}, f"{LOGIN}attach its archive."),
    ("statuses", 410, {"error": "Gone"}, f"@finch@{TOOTS} is suspended or deactivated on {TOOTS}."),
    ("statuses", 429, {"error": "Too many requests"}, f"{TOOTS} lets me ask no more for now.{LATER}in an hour."),
    ("statuses", 500, "<html>", f"{TOOTS} can't be reached (it answers with error 500).{LATER}later."),
)


@pytest.mark.parametrize("platform", ["bluesky", "mastodon"])
async def test_a_trouble_of_another_platform_is_told_and_a_retry_goes_on_when_it_is_over(
    quick: Config, orders: Orders, platforms: Platforms, platform: str
) -> None:
    platforms.post(platform, 150)
    sky, toots = platforms.bluesky, platforms.toots
    async with hasty(quick, orders) as service:
        for call, status, body, expected in SKY_TROUBLES if platform == "bluesky" else TOOT_TROUBLES:
            if platform == "bluesky":
                sky.broken = {call: (status, body)}
            else:
                toots.failures = {call: [Failure(status=status, body=body)] * 4}
            failed = await end_of(service, (await begin(service, HANDLES[platform])).id)
            assert (failed.state, failed.error) == (JobState.FAILED, expected)
        sky.broken, toots.failures = {}, {}
        again = await end_of(service, (await service.retry(CONSOLE, failed.id)).id)
        assert (again.state, again.error) == (JobState.DONE, None)


async def test_what_needs_no_job_to_be_known_is_told_at_once(
    quick: Config, orders: Orders, platforms: Platforms
) -> None:
    async with hasty(quick, orders) as service:
        for handle, error, words in (
            ("@nasa", SourceOff, "the operator has not switched the X API on"),
            ("@finch@mastodon.social", ServerClosed, "the terms of mastodon.social forbid"),
            ("@fin ch", OutOfRange, "like @nasa, nasa.bsky.social or @nasa@example.social"),
        ):
            with pytest.raises(error, match=words):
                await service.plan(CONSOLE, handles=[handle], ground="public_figure")
    async with hasty(fetching(quick), orders) as service:
        with pytest.raises(OutOfRange, match="at most 15 letters"):
            await service.plan(CONSOLE, handles=["@a_name_beyond_fifteen"], ground="public_figure")
    assert platforms.net.asked == []


async def test_a_server_whose_terms_forbid_it_is_closed_under_its_other_name_too(
    quick: Config, orders: Orders, platforms: Platforms
) -> None:
    server = FakeMastodon(net=platforms.net, domain="birds.test", home="social.birds.test")
    server.post(server.add_account("finch"), "<p>A post of three words and more.</p>")
    config = fetching(quick, closed_servers=("social.birds.test",))
    (error,) = (await errors_of(config, orders, "@finch@birds.test")).values()
    assert error is not None
    assert error.startswith("@finch@birds.test is not learned: the terms of social.birds.test forbid")
    assert server.asked["statuses"] == 0
