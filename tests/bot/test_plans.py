"""What a training would do, before anything runs: which files are whose, whether it is done already, what it costs."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from bot.config import Config
from bot.plans import accounts_of, checked_handle, checked_name, cost_usd, digest_of, model_name
from bot.records import CONSOLE, Caller, JobState
from bot.service import Service
from models.errors import (
    AlreadyHere,
    AlreadyTraining,
    NameTaken,
    NoSource,
    NotAllowed,
    NothingGiven,
    OutOfRange,
    UnevenFiles,
    Unreadable,
)
from models.records import TrainingSettings
from tests.bot.quick import MEMBER, STRANGER, asked, end_of, entered_in, posts_of, serving, train, with_bot
from tests.fakes.children.orders import Orders


def file(folder: Path, name: str, content: str = "posts") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def grouped(files: list[Path], *handles: str, source: str | None = None) -> list[tuple[str | None, str, list[str]]]:
    accounts = accounts_of(handles, files, source)
    return [(a.handle, a.source, [f"{p.parent.name}/{p.name}" for p in a.files]) for a in accounts]


# --- which files are whose --------------------------------------------------------------------------------------------


def test_each_archive_and_each_jsonl_is_one_account(tmp_path: Path) -> None:
    files = [file(tmp_path, f"a/{name}") for name in ("x.zip", "b.jsonl", "c.ndjson", "d.JSON", "y.ZIP")]
    assert grouped(files) == [
        (None, "x_archive", ["a/x.zip"]),
        (None, "jsonl", ["a/b.jsonl"]),
        (None, "jsonl", ["a/c.ndjson"]),
        (None, "jsonl", ["a/d.JSON"]),
        (None, "x_archive", ["a/y.ZIP"]),
    ]


def test_loose_js_files_are_one_account_up_to_the_next_of_the_same_name(tmp_path: Path) -> None:
    names = ("a/tweets.js", "a/note-tweet.js", "z/wren.zip", "a/account.js", "b/tweets.js", "b/account.js")
    files = [file(tmp_path, name) for name in names]
    assert grouped(files, "robin", "wren", "finch") == [
        ("robin", "x_archive", ["a/tweets.js", "a/note-tweet.js", "a/account.js"]),
        ("wren", "x_archive", ["z/wren.zip"]),
        ("finch", "x_archive", ["b/tweets.js", "b/account.js"]),
    ]


def test_handles_are_matched_to_the_files_in_order(tmp_path: Path) -> None:
    files = [file(tmp_path, "a/one.jsonl"), file(tmp_path, "a/two.zip")]
    assert grouped(files, "@Robin", " wren ") == [
        ("Robin", "jsonl", ["a/one.jsonl"]),
        ("wren", "x_archive", ["a/two.zip"]),
    ]


def test_a_source_that_is_named_counts_more_than_the_file_name(tmp_path: Path) -> None:
    files = [file(tmp_path, "a/export.txt")]
    assert grouped(files, source="jsonl") == [(None, "jsonl", ["a/export.txt"])]
    with pytest.raises(Unreadable, match=r"export\.txt"):
        grouped(files)


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    one, two = file(tmp_path, "a/one.jsonl"), file(tmp_path, "a/two.jsonl")
    with pytest.raises(NothingGiven):
        accounts_of([], [])
    with pytest.raises(NoSource) as caught:
        accounts_of(["robin", "wren"], [one])
    assert caught.value.handle == "wren"
    with pytest.raises(UnevenFiles):
        accounts_of(["robin"], [one, two])
    with pytest.raises(Unreadable, match="no such file"):
        accounts_of(["robin"], [tmp_path / "absent.zip"])
    with pytest.raises(OutOfRange):
        accounts_of([f"robin{i}" for i in range(11)], [one])


@pytest.mark.parametrize("text", ["@nasa", "nasa", " @Nasa_2 ", "robin@mastodon.social", "a.b-c", "_x"])
def test_a_handle_is_kept_without_its_sign(text: str) -> None:
    assert checked_handle(text) == text.strip().removeprefix("@")


@pytest.mark.parametrize("text", ["", "@", "a b", "../etc", "a/b", "x" * 101, "<@5>", "naïve", "-x", "a\n"])
def test_what_can_be_no_handle_is_refused(text: str) -> None:
    if text == "a\n":
        assert checked_handle(text) == "a"
        return
    with pytest.raises(OutOfRange):
        checked_handle(text)


@pytest.mark.parametrize("text", ["", " ", "a/b", "a\nb", ".hidden", "x" * 81, "@everyone!", "<b>", "`x`", "a|b"])
def test_what_can_be_no_model_name_is_refused(text: str) -> None:
    with pytest.raises(OutOfRange):
        checked_name(text)


def test_a_model_without_a_name_is_called_by_its_handles() -> None:
    assert model_name(["Wren", "robin"]) == "robin-wren"
    assert checked_name(" @Night Bus Nell ") == "Night Bus Nell"


# --- the same again ---------------------------------------------------------------------------------------------------


async def test_the_digest_is_of_contents_accounts_and_settings_and_of_nothing_else(tmp_path: Path) -> None:
    training = TrainingSettings()

    async def digest(files: list[Path], *handles: str, changed: TrainingSettings = training) -> str:
        return await digest_of(accounts_of(handles, files), changed)

    one, moved = file(tmp_path, "a/one.jsonl"), file(tmp_path, "b/renamed.ndjson")
    first = await digest([one], "robin")
    assert first == await digest([moved], "@ROBIN")
    others = [
        await digest([file(tmp_path, "a/other.jsonl", "other posts")], "robin"),
        await digest([one], "wren"),
        await digest([one]),
        await digest([one], "robin", changed=msgspec.structs.replace(training, epochs=4)),
        await digest([file(tmp_path, "a/one.zip")], "robin"),
        await digest([one, moved], "robin", "wren"),
    ]
    assert len({first, *others}) == len(others) + 1


async def test_the_order_of_one_accounts_files_does_not_matter(tmp_path: Path) -> None:
    tweets, notes = file(tmp_path, "tweets.js", "tweets"), file(tmp_path, "note-tweet.js", "notes")
    training = TrainingSettings()
    assert await digest_of(accounts_of([], [tweets, notes]), training) == await digest_of(
        accounts_of([], [notes, tweets]), training
    )


async def test_what_is_here_already_is_not_trained_again(service: Service, orders: Orders, tmp_path: Path) -> None:
    posts = posts_of(tmp_path)
    job = await train(service, MEMBER, posts, handles=["robin"])
    assert (await end_of(service, job.id)).state == JobState.DONE
    for request in (
        {"handles": ["@Robin"], "files": [posts]},
        {"handles": ["robin"], "files": [posts], "name": "ROBIN"},
    ):
        with pytest.raises(AlreadyHere) as caught:
            await service.plan(MEMBER, **request)  # type: ignore[arg-type]
        assert (caught.value.name, caught.value.version) == ("robin", 1)
    assert [j.id for j in await service.jobs(MEMBER)] == [job.id]
    # Other posts are another training, another name another model, and another server knows nothing of it.
    more = await service.plan(MEMBER, handles=["robin"], files=[posts_of(tmp_path, count=121)])
    assert more.follows and (more.follows.name, more.follows.version) == ("robin", 1)
    assert (await service.plan(MEMBER, handles=["robin"], files=[posts], name="redbreast")).follows is None
    assert (await service.plan(STRANGER, handles=["robin"], files=[posts])).follows is None


async def test_what_the_file_told_is_here_already_when_the_file_comes_again(service: Service, tmp_path: Path) -> None:
    posts = posts_of(tmp_path)
    job = await train(service, MEMBER, posts)
    assert (await end_of(service, job.id)).model == "robin"
    with pytest.raises(AlreadyHere):
        await service.plan(MEMBER, files=[posts])


async def test_a_deleted_model_is_no_reason_not_to_train(service: Service, tmp_path: Path) -> None:
    posts = posts_of(tmp_path)
    digest = (await service.plan(MEMBER, handles=["robin"], files=[posts])).digest
    await entered_in(service, digest=digest)
    with pytest.raises(AlreadyHere):
        await service.plan(MEMBER, handles=["robin"], files=[posts])
    await service.library.delete(Caller(server_id=42, user_id=1, may_manage=True), "robin")
    assert (await service.plan(MEMBER, handles=["robin"], files=[posts])).follows is None


# --- cost, place and refusals -----------------------------------------------------------------------------------------


def test_the_cost_is_the_sum_of_the_accounts_by_source(tmp_path: Path) -> None:
    accounts = accounts_of([], [file(tmp_path, name) for name in ("a.jsonl", "b.jsonl", "c.zip")])
    assert cost_usd(accounts, {}) == 0
    assert cost_usd(accounts, {"jsonl": 0.5, "x": 9.0}) == 1.0
    assert cost_usd(accounts, {"jsonl": 0.5, "x_archive": 0.25}) == 1.25


async def test_a_plan_tells_its_cost_its_accounts_and_how_many_are_before_it(
    quick: Config, orders: Orders, tmp_path: Path
) -> None:
    orders.give("collect-waits")
    posts = posts_of(tmp_path)
    async with serving(with_bot(quick, price_usd={"jsonl": 0.5}), orders) as service:
        plan = await service.plan(MEMBER, handles=["@Robin"], files=[posts])
        assert (plan.name, plan.handles, plan.usd, plan.ahead) == ("robin", ("Robin",), 0.5, 0)
        assert plan.accounts[0].size_bytes == posts.stat().st_size
        assert await service.jobs(CONSOLE) == []  # nothing has happened yet
        for caller in (MEMBER, STRANGER):
            for name in ("a", "b"):
                job = await train(service, caller, posts, name=name)
                await service.confirm(caller, job.id)
        # One runs and three wait: a newcomer's server takes its turn, and who has asked before comes last.
        assert (await service.plan(Caller(server_id=44, user_id=1, may_train=True), files=[posts])).ahead == 2
        assert (await service.plan(MEMBER, files=[posts])).ahead == 4


async def test_a_plan_that_cannot_be_is_refused_before_anything_happens(service: Service, tmp_path: Path) -> None:
    posts = posts_of(tmp_path)
    await entered_in(service, "robin", handles=["robin"])
    with pytest.raises(NameTaken):
        await service.plan(MEMBER, handles=["wren"], files=[posts], name="Robin")
    job = await service.registry.add_job(MEMBER, model="wren", handles=[], confirmed=False, place_files=lambda _: None)
    with pytest.raises(AlreadyTraining):
        await service.plan(MEMBER, handles=["WREN"], files=[posts])
    with pytest.raises(NotAllowed):
        await service.plan(Caller(server_id=42, user_id=7), handles=["finch"], files=[posts])
    assert [j.id for j in await service.jobs(MEMBER)] == [job.id, 1]


async def test_the_plan_is_what_the_trainer_is_told(service: Service, orders: Orders, tmp_path: Path) -> None:
    posts = [posts_of(tmp_path, "robin"), posts_of(tmp_path, "wren")]
    job = await train(service, MEMBER, *posts, handles=["robin", "wren"], name="a pair")
    assert (await end_of(service, job.id)).state == JobState.DONE
    model = service.library.find(MEMBER, "a pair")
    assert (model.handles, model.digest) == (("robin", "wren"), job.digest)
    spec = json.loads((service.data.runs / str(job.id) / "spec.json").read_text())
    assert [(a["handle"], a["inputs"]) for a in spec["accounts"]] == [
        ("robin", ["0/robin-120.jsonl"]),
        ("wren", ["1/wren-120.jsonl"]),
    ]
    await service.say(MEMBER, model=model)
    assert asked(orders)[-1].model == str(service.data.models / model.folder)
