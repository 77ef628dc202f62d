"""Each page fits a telephone, names what it has, and goes by keyboard."""

import io

import pytest
from django.core.management import call_command
from playwright.sync_api import expect

from conftest import door
from orgs.models import Invitation, Organization

PATHS = (
    *(
        "",
        "modules",
        "team",
        "tokens",
        "billing",
        "plan",
        "limits",
        "activity",
        "settings",
        "offer",
    ),
)
# What is wrong with a page, for somebody who sees little of it or nothing.
WRONG = """() => {
  const shown = (e) => e.offsetParent !== null;
  const all = (what) => [...document.querySelectorAll(what)].filter(shown);
  const named = (e) => e.labels?.length || e.getAttribute("aria-label") || e.innerText.trim();
  const wrong = all("input, select, textarea, button, a").filter((e) => !named(e));
  const found = wrong.map((e) => `no name: ${e.outerHTML}`);
  if (document.documentElement.scrollWidth > innerWidth) found.push("wider than the screen");
  if (all("h1").length !== 1) found.push("not one h1");
  if (!document.documentElement.lang || !document.title.includes("Spoke")) found.push("no lang, title");
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  if (new Set(ids).size !== ids.length) found.push("an id twice");
  return found;
}"""


@pytest.fixture
def owner(committed_cast, sign_in):
    call_command("seed_plans", stdout=io.StringIO())
    with door():
        # The longest that people may choose, without a place to break.
        Organization.objects.filter(name="acme").update(
            display_name="W" * 200, description="W" * 999
        )
    sign_in(committed_cast.owner)
    return committed_cast.owner


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_nameless_or_wider_than_the_screen(page, owner, width):
    page.set_viewport_size({"width": width, "height": 900})
    for path in ("/app/", "/accounts/tokens", *(f"/app/acme/{path}" for path in PATHS)):
        page.goto(path)
        assert page.evaluate(WRONG) == [], path
    page.goto("/app/acme/settings")
    page.get_by_role("button", name="Close the organization").click()
    expect(page.get_by_label("Type acme to be sure")).to_be_visible()
    assert page.evaluate(WRONG) == []


def test_somebody_is_invited_by_keyboard_alone(page, owner):
    page.goto("/app/acme/team")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "email":
            break
    page.keyboard.type("new@example.org")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("The invitation is on its way.")
    with door():
        assert Invitation.objects.get().email == "new@example.org"
