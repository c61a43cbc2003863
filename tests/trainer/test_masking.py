"""E-mail addresses and telephone numbers out of a text, and other numbers left in it."""

from __future__ import annotations

import time

import pytest

from trainer.masking import MAX_DIGITS, mask_personal


def test_mail_addresses_go_and_handles_stay() -> None:
    assert mask_personal("write to jenny.wren+x@mail.example.org, or連絡はa@b.jpまで") == "write to …, or連絡は…まで"
    kept = "ask @Gargron@mastodon.social or .@nasa.Now"
    assert mask_personal(kept) == kept


@pytest.mark.parametrize(
    "number",
    [
        "+1 415 555 2671",
        "+14155552671",
        "+49 30 901820",
        "+254 709 716000",
        "(415) 555-2671",
        "415.555.2671",
        "4155552671",
        "1-800-555-0199",
        "020 7946 0958",
        "07911 123456",
        "030 901820",
        "06 12 34 56 78",
        "0612345678",
        "090-1234-5678",
        "98765 43210",
        "9876543210",
        "(11) 98765-4321",
    ],
)
def test_telephone_numbers_go(number: str) -> None:
    assert mask_personal(f"call {number}.") == "call …."
    assert mask_personal(f"電話は{number}まで") == "電話は…まで"


@pytest.mark.parametrize(
    "text",
    [
        "2017-10-11",
        "10/11/2017",
        "11.10.2017 20:15",
        "06.10.2018 19:30",
        "2020-01-01 12:00:00",
        "20171011",
        "2017101112",
        "2018-2019 season",
        "(1987-2017)",
        "(1691 - 1753)",
        "1914-1918 1939-1945",
        "12:30:45",
        "9:30-10:45",
        "21-17, 25-23, 21-19",
        "3-2 4-6 7-5 6-3",
        "$1,234,567.89",
        "£20 000 000",
        "1 234 567",
        "12.345.678",
        "1350000000 views",
        "1234567890123",
        "918137015924854786",
        "1234567890",
        "192.168.10.125",
        "10.0.0.1:8080",
        "#20171011",
        "#4155552671",
        "ISBN 978-3-16-148410-0",
        "4 8 15 16 23 42",
        "v1.2.3.4567",
        "3.14159265358979",
        "0.123456789",
        "[16875.663868]",
        "(1680x1050) 1230",
        "1234 5678 9012 3456",
        "75% 1234567",
        "1999 2000 2001",
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert mask_personal(f"it was {text} then") == f"it was {text} then"


def test_each_of_several_numbers_goes() -> None:
    assert mask_personal("202-456-1111/202-456-1414, a@b.org") == "…/…, …"


def test_in_a_directory_every_number_goes_at_once() -> None:
    start = time.process_time()
    assert mask_personal("918137015924854786\n" * MAX_DIGITS) == "…\n" * MAX_DIGITS
    assert time.process_time() - start < 3
