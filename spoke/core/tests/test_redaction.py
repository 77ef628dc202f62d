"""No secret is written to the log, in whatever part of a line it stands."""

import pytest

from spoke.core.redaction import redact, redact_line

API_TOKEN = "spk_" + "aB3" * 16 + "x"
INVITATION = "-_aB3" * 8 + "xyz"


@pytest.mark.parametrize(
    ("line", "written"),
    [
        (f"Bearer {API_TOKEN}.", "Bearer spk_aB3aB3aB…."),
        (f"GET /invitations/{INVITATION}/accept", "GET /invitations/…/accept"),
        (f"next=%2Faccounts%2Finvitations%2F{INVITATION}", "next=%2Faccounts%2Finvitations%2F…"),
        ("GET /accounts/invitations/back/gAAAAABr-_x=%3D z", "GET /accounts/invitations/back/… z"),
        (
            "next=%2Faccounts%2Finvitations%2Fback%2FgAAr%3D&",
            "next=%2Faccounts%2Finvitations%2Fback%2F…&",
        ),
        ("GET /orgs/acme/invitations/12", "GET /orgs/acme/invitations/12"),
        ("spk_ is our prefix", "spk_ is our prefix"),
    ],
)
def test_secrets_are_cut_out(line, written):
    assert redact(line) == written


def test_what_is_not_text_passes():
    assert redact_line(None, "info", {"event": API_TOKEN}) == {"event": API_TOKEN}
