"""The pages. Each names what it reads and what can be done on it."""

from typing import Any, ClassVar

from django.http import Http404, HttpResponse
from django.shortcuts import redirect

from spoke.pages.base import MEMBERS, TEAM, Act, OrgPage, Page, Shown, cursor_of, older
from spoke.pages.inside import call

ROLES = ("viewer", "developer", "admin", "owner")


def _token(sent: dict[str, str]) -> dict[str, Any]:
    days = sent.get("expires_in_days", "").strip()
    scope = sent.get("scope", "read")
    return {"scopes": [scope]} | ({"expires_in_days": days} if days else {})


class Organizations(Page):
    """One's organizations, and a form for another."""

    template = "pages/organizations.html"
    reads: ClassVar[dict[str, str]] = {"organizations": "/orgs", "me": "/me"}
    acts: ClassVar[dict[str, Act]] = {"create": Act("POST", "/orgs", ("name", "display_name"))}

    def perform(self, act: Act, sent: dict[str, str]) -> HttpResponse:
        data = {k: v for k, v in (act.data(sent) or {}).items() if v or k == "name"}
        answer = call(self.request, act.method, act.path, data)
        if not answer.ok:
            return self.show(Shown(answer.status, answer.refusals, sent))
        return redirect("pages_overview", org=answer.data["name"])


class Overview(OrgPage):
    """Where the organization stands: limits, plan, what is to be done."""

    template, tab = "pages/overview.html", "overview"
    reads: ClassVar[dict[str, str]] = {
        "quotas": "/quotas",
        "subscription": "/subscription",
        "modules": "/modules",
        "transfer": "/transfer",
    }


class Team(OrgPage):
    """Members and invitations."""

    template, tab, roles = "pages/team.html", "team", TEAM
    reads: ClassVar[dict[str, str]] = {"members": "/members", "invitations": "/invitations"}
    acts: ClassVar[dict[str, Act]] = {
        "invite": Act("POST", "/invitations", ("email", "role"), "The invitation is on its way."),
        "resend": Act("POST", "/invitations/{id}/resend", (), "Sent again, with a new link."),
        "revoke": Act(
            "DELETE",
            "/invitations/{id}",
            (),
            "Withdrawn.",
            "Withdraw the invitation of {who}?",
            "Withdraw",
        ),
        "role": Act("PATCH", "/members/{id}", ("role",), "The role is changed."),
        "remove": Act(
            "DELETE",
            "/members/{id}",
            (),
            "Removed.",
            "Remove {who}? They and their tokens lose access at once.",
            "Remove",
        ),
    }

    def context(self) -> dict[str, Any]:
        return {**super().context(), "roles": ROLES}


REVOKE = Act(
    "DELETE",
    "/tokens/{id}",
    (),
    "Revoked.",
    "Revoke the token {who}? Whatever uses it stops working at once. This cannot be taken back.",
    "Revoke",
)
SCOPES = ("read", "write", "usage:write", "billing", "admin")


class OwnTokens(Page):
    """The person's own tokens."""

    template = "pages/tokens.html"
    reads: ClassVar[dict[str, str]] = {"tokens": "/tokens"}
    acts: ClassVar[dict[str, Act]] = {
        "create": Act("POST", "/tokens", ("name",), body=_token, secret=True),
        "revoke": REVOKE,
    }

    def root(self) -> str:
        return "/me"

    def context(self) -> dict[str, Any]:
        return {**super().context(), "scopes": SCOPES}


class Tokens(OrgPage):
    """Service tokens of the organization."""

    template, tab, roles = "pages/tokens.html", "tokens", TEAM
    reads: ClassVar[dict[str, str]] = {"tokens": "/tokens"}
    acts: ClassVar[dict[str, Act]] = {
        "create": Act("POST", "/tokens", ("name", "role"), body=_token, secret=True),
        "revoke": REVOKE,
    }

    def context(self) -> dict[str, Any]:
        return {**super().context(), "roles": ROLES[:3], "scopes": SCOPES}


class Listing(OrgPage):
    """A page of one long list of the API's, part by part; `listing` is its name here, and its path."""

    listing: ClassVar[tuple[str, str]]

    def context(self) -> dict[str, Any]:
        name, path = self.listing
        answer = self.ask(path, **cursor_of(self.request))
        if answer.status == 400:
            raise Http404
        found = answer.data if answer.ok else None
        return {**super().context(), name: found, "older": older(found)}


class Activity(Listing):
    """The audit log, newest first."""

    template, tab, roles = "pages/activity.html", "activity", TEAM
    listing = ("log", "/audit-log")


class Modules(Listing):
    """The modules."""

    template, tab, roles = "pages/modules.html", "modules", MEMBERS
    listing = ("modules", "/modules")


class Settings(OrgPage):
    """The name, whom it belongs to, and its end."""

    template, tab, roles = "pages/settings.html", "settings", TEAM
    reads: ClassVar[dict[str, str]] = {"members": "/members", "transfer": "/transfer"}
    acts: ClassVar[dict[str, Act]] = {
        "save": Act("PATCH", "", ("display_name", "description")),
        "transfer": Act(
            "POST",
            "/transfer",
            ("email",),
            "The offer is made. It is theirs once they accept.",
            "Offer the organization to {email}? Once they accept they own it, and pay for it; you "
            "become an admin.",
            "Offer",
        ),
        "take_back": Act("DELETE", "/transfer", (), "The offer is taken back."),
        "close": Act(
            "DELETE",
            "",
            (),
            "The organization is closed.",
            "Close the organization? Nothing works in it any more: its subscription ends, its tokens "
            "and pending invitations are revoked. For 30 days you can reopen it; then everything in "
            "it is deleted for good.",
            "Close",
            typed=True,
        ),
        "reopen": Act("POST", "/reopen", (), "The organization is open again."),
    }


class Offer(OrgPage):
    """What somebody is offered: to own the organization."""

    template, tab = "pages/offer.html", "overview"
    reads: ClassVar[dict[str, str]] = {"transfer": "/transfer"}
    acts: ClassVar[dict[str, Act]] = {
        "accept": Act("POST", "/transfer/accept", (), "The organization is yours."),
        "decline": Act("DELETE", "/transfer", (), "Declined."),
    }
