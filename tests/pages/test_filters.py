"""What the API's answers look like on a page."""

import pytest

from spoke.pages.filters import amount, day, moment, money, share, words


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (money(123_456, "usd"), "1,234.56 USD"),
        (money(-5, "jpy"), "-5 JPY"),
        (moment("2026-03-05T09:30:00Z"), "5 March 2026, 09:30 UTC"),
        (day("2026-03-05T09:30:00.123456Z"), "5 March 2026"),
        (amount(None), "unlimited"),
        (amount(1_000, "jobs"), "1,000"),
        (amount(0, "bytes"), "0 bytes"),
        (amount(1_536, "bytes"), "1.5 KiB"),
        (amount(10 * 2**30, "bytes"), "10 GiB"),
        (amount(5_000 * 2**50, "bytes"), "5000 PiB"),
        (words("api_requests"), "API requests"),
        (words("token.revoked"), "Token revoked"),
        (share({"used": 8, "limit": 10}), 80),
        (share({"used": 80, "limit": 10}), 100),
        (share({"used": 1, "limit": 0}), 100),
        (share({"used": 1, "limit": None}), 0),
    ],
)
def test_it_reads(shown, expected):
    assert shown == expected


def test_nothing_is_a_dash():
    assert money(None, "usd") == moment(None) == day("") == "\N{EN DASH}"
