"""Long lists: every model and every job is on one of the pages, whatever they are called."""

from __future__ import annotations

import re

import simcord

from bot.strings import strings
from tests.fakes.simcord_house import House, private, text

BACK, NEXT = strings()("models.back"), strings()("models.next")


def is_one_thing(result: simcord.InteractionResult) -> bool:
    """Whether what is shown is either content or one embed that can be seen."""
    shown = result.response
    hidden = shown.flags.suppress_embeds and shown.embeds
    return bool(shown.content) != bool(shown.embeds) and not hidden


async def walk(house: House, shown: simcord.InteractionResult, pages: int) -> list[str]:
    """The texts of the pages, on and back again."""
    texts = [text(shown)]
    for _ in range(pages - 1):
        await house.member.click(shown.response, label=NEXT)
        assert is_one_thing(shown)
        texts.append(text(shown))
    for number in reversed(range(pages - 1)):
        await house.member.click(shown.response, label=BACK)
        assert is_one_thing(shown)
        assert text(shown) == texts[number]
    return texts


async def test_30_models_are_on_three_pages(house: House) -> None:
    for number in range(30):
        await house.shelve(f"voice-{number:02d}", handles=(f"h{number}",))
    shown = await house.member.slash(house.channel, "models list")
    assert "Page 1 of 3" in private(shown)
    texts = await walk(house, shown, 3)
    assert [re.findall(r"voice-(\d\d)", page) for page in texts] == [
        [f"{number:02d}" for number in range(high, high - 10, -1)] for high in (29, 19, 9)
    ]
    assert all(len(page) <= 4096 for page in texts)


async def test_pages_of_long_names_and_of_short_ones_do_not_mix(house: House) -> None:
    for number in range(10):
        await house.shelve(f"short-{number}", handles=(f"h{number}",))
    for number in range(10):
        handles = tuple(f"{letter}{number}_" + "_" * 96 for letter in "abcdefghij")
        await house.shelve(f"long {number} " + "_" * 72, handles=handles)
    shown = await house.member.slash(house.channel, "models list")
    assert is_one_thing(shown)
    assert "Page 1 of 2" in text(shown)
    texts = await walk(house, shown, 2)
    assert "long" in texts[0]
    assert len(texts[0]) <= 4096
    assert re.findall(r"short-(\d)", texts[1]) == list("9876543210")


async def test_a_page_that_is_gone_shows_the_last_one_that_there_is(house: House) -> None:
    for number in range(11):
        await house.shelve(f"voice-{number:02d}", handles=(f"h{number}",))
    shown = await house.member.slash(house.channel, "models list")
    for number in range(5):
        await house.service.library.delete(house.caller, f"voice-{number:02d}")
    await house.member.click(shown.response, label=NEXT)
    assert "voice-10" in text(shown)
    for number in range(5, 11):
        await house.service.library.delete(house.caller, f"voice-{number:02d}")
    again = await house.member.slash(house.channel, "models list")
    assert "/train" in private(again)


async def test_buttons_go_when_the_last_model_is_gone(house: House) -> None:
    for number in range(11):
        await house.shelve(f"voice-{number:02d}", handles=(f"h{number}",))
    shown = await house.member.slash(house.channel, "models list")
    for number in range(11):
        await house.service.library.delete(house.caller, f"voice-{number:02d}")
    await house.member.click(shown.response, label=NEXT)
    assert "/train" in text(shown)
    assert shown.response.components == []


async def test_25_jobs_are_on_three_pages(house: House) -> None:
    for number in range(25):
        await house.failed_job(f"job-{number}")
    shown = await house.member.slash(house.channel, "jobs list")
    texts = await walk(house, shown, 3)
    assert [re.findall(r"^#(\d+)", page, re.MULTILINE) for page in texts] == [
        [str(number) for number in range(high, low, -1)] for high, low in ((25, 15), (15, 5), (5, 0))
    ]


async def test_no_job_is_lost_for_its_long_name_or_error(house: House) -> None:
    for number in range(12):
        await house.failed_job(f"{number}" + "_" * 78, error="*" * 2000)
    shown = await house.member.slash(house.channel, "jobs list")
    texts = await walk(house, shown, 2)
    found = [number for page in texts for number in re.findall(r"^#(\d+)", page, re.MULTILINE)]
    assert found == [str(number) for number in range(12, 0, -1)]


async def test_nobody_turns_pages_into_another_server(house: House) -> None:
    _, channel, mallory = house.other_guild()
    for number in range(11):
        await house.shelve(f"voice-{number:02d}", handles=(f"h{number}",))
        await house.failed_job(f"job-{number}")
    for custom_id, word in (("models:0", "voice"), ("models:1", "voice"), ("jobs:0", "job-"), ("jobs:1", "job-")):
        shown = await mallory.slash(channel, "help")
        stored = house.env.backend.get_message(channel.id, shown.response.id)
        button = {"type": 2, "style": 2, "label": "forged", "custom_id": custom_id, "id": 2}
        stored.components = [{"type": 1, "id": 1, "components": [button]}]
        await mallory.click(shown.response, custom_id=custom_id)
        assert word not in text(shown), custom_id


async def test_versions_have_pages_too(house: House) -> None:
    for _ in range(12):
        await house.shelve("robin")
    info = await house.member.slash(house.channel, "models info")
    versions = await house.member.click(
        info.response, custom_id=f"versions:{house.service.library.default(house.caller).model_id}:0"
    )
    shown = versions if versions.response and "Page 1 of 2" in text(versions) else info
    texts = await walk(house, shown, 2)
    assert re.findall(r"\bv(\d+) ", " ".join(texts)) == [str(number) for number in range(12, 0, -1)]
