"""What all messages have in common."""

import pytest

from orgs.emails import send_rendered
from tests.support.running import ROOT

TEMPLATES = ROOT / "templates"
MESSAGES = sorted(
    str(path.relative_to(TEMPLATES).with_suffix("")) for path in TEMPLATES.glob("*/emails/*.html")
)


@pytest.mark.parametrize("template", MESSAGES)
def test_a_message_names_the_site_and_stands_in_the_common_frame(template, mailoutbox):
    context = {"organization": "Acme & Sons"}
    send_rendered(template, to="ada@example.com", subject="Of Acme\nto Ada", context=context)
    (sent,) = mailoutbox
    assert sent.subject == "Of Acme to Ada"
    ((page, kind),) = sent.alternatives
    assert kind == "text/html"
    for text in (sent.body, page):
        assert "on Spoke" in " ".join(text.split())
    assert "Acme & Sons" in sent.body
    assert "Acme &amp; Sons" in page
    assert page.count("<h1") == page.count('width="520"') == 1


def test_there_are_messages():
    assert len(MESSAGES) >= 4
