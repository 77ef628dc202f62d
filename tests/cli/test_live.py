"""The command line against a real server: signing in, looking around, and being refused."""

import stat

from django.core.management import call_command

from conftest import door
from registry.models import Module
from spoke.cli import config
from tests.factories import OrganizationFactory


def test_from_login_to_logout(spoke, live_server, token):
    secret = token("owner")
    done = spoke("login", "--api-url", f"{live_server.url}/", stdin=f"{secret}\n")
    path = config.config_path()
    assert (done.code, done.out) == (0, "")
    assert done.err == (
        f"Signed in to {live_server.url} as owner@example.com. The token is kept in {path}.\n"
        "Commands work on the organization acme.\n"
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    who = spoke("whoami", "--json").document
    assert (who["me"]["email"], who["organization"]) == ("owner@example.com", "acme")
    assert secret not in spoke("whoami").out
    assert spoke("logout").err == "The token is forgotten here.\n"
    assert not path.exists()
    again = spoke("whoami")
    assert (again.code, again.out) == (3, "")
    assert again.err == "spoke: You are not signed in.\nSign in with `spoke login`.\n"


def test_an_organization_can_be_named_at_login(spoke, live_server, token, committed_cast):
    with door():
        OrganizationFactory(name="second", owner=committed_cast.owner)
    options = ("login", "--api-url", live_server.url, "--token", token("owner"))
    refused = spoke(*options, "--org", "rival")
    assert (refused.code, refused.err) == (
        2,
        "spoke: You are not in rival.\nYou are in acme, second.\n",
    )
    assert not config.config_path().exists()
    assert spoke(*options, "--org", "second").code == 0
    assert spoke("whoami", "--json").document["organization"] == "second"


def test_a_token_that_is_none_is_not_kept(spoke, live_server, token):
    done = spoke("login", "--api-url", live_server.url, "--token", "spk_" + "x" * 49)
    assert done.code == 3
    assert "code: invalid_token\n" in done.err
    assert "request id: " in done.err
    assert not config.config_path().exists()
    nothing = spoke("login", "--api-url", live_server.url, stdin="\n")
    assert (nothing.code, nothing.err.splitlines()[0]) == (2, "spoke: That is no API token.")


def test_the_environment_suffices_for_a_pipeline(spoke, live_server, committed_cast, monkeypatch):
    call_command("seed_plans", verbosity=0)
    wish = {"name": "ci", "role": "developer", "scopes": ["write"]}
    made = committed_cast.client("owner").post("/orgs/acme/tokens", wish)
    monkeypatch.setenv("SPOKE_API_URL", live_server.url)
    monkeypatch.setenv("SPOKE_TOKEN", made.json()["token"])
    assert spoke("modules", "create", "payments", "--quiet").code == 0
    assert spoke("modules", "--json").document[0]["name"] == "payments"
    assert "the service token ci of acme" in spoke("whoami").out
    assert spoke("orgs").out.splitlines()[1].split()[:2] == ["acme", "Acme"]
    assert not config.config_path().exists()


def test_an_organization_is_chosen_and_kept(spoke, login, committed_cast):
    with door():
        OrganizationFactory(name="second", owner=committed_cast.owner)
    login("owner")
    unsure = spoke("modules")
    assert unsure.code == 2
    assert "Which organization? You are in acme, second." in unsure.err
    assert spoke("modules", "--org", "second").code == 0
    refused = spoke("orgs", "use", "rival")
    assert (refused.code, "code: not_found" in refused.err) == (1, True)
    assert spoke("orgs", "use", "second").code == 0
    assert [line.split()[:2] for line in spoke("orgs").out.splitlines()[1:]] == [
        ["acme", "Acme"],
        ["*", "second"],
    ]
    assert spoke("usage", "--json").document["organization"] == "second"


def test_modules_up_to_the_limit(spoke, login):
    login("developer")
    for number in range(5):
        assert spoke("modules", "create", f"m{number}", "--public").code == 0
    sixth = spoke("modules", "create", "m5", "--json")
    assert (sixth.code, sixth.document["error"]["resource"]) == (5, "modules")
    lines = sixth.err.splitlines()
    assert lines[0] == "spoke: The limit is 5 modules; 5 are in use."
    assert lines[1] == "  code: quota_exceeded"
    assert lines[3].startswith("  raise the limit: http")
    with door():
        assert Module.objects.count() == 5
    rows = spoke("modules").out.splitlines()
    assert rows[1].split()[:4] == ["m0", "-", "0", "yes"]
    assert spoke("modules", "--search", "m3", "--json").document[0]["name"] == "m3"
    assert spoke("versions", "m3", "--json").document == []
    missing = spoke("versions", "m9")
    assert (missing.code, missing.err.splitlines()[-1]) == (
        1,
        "Looked for acme/m9, among yours and what is public.",
    )


def test_a_viewer_changes_nothing(spoke, login):
    login("viewer")
    refused = spoke("modules", "create", "mine")
    assert (refused.code, "code: permission_denied" in refused.err) == (1, True)
    with door():
        assert not Module.objects.exists()


def test_usage_with_bars_and_what_it_costs(spoke, login):
    login("owner")
    spoke("modules", "create", "payments")
    shown = spoke("usage").out.splitlines()
    assert shown[1].split()[0] == "Modules"
    assert shown[1].split()[-4:] == ["20%", "1", "of", "5"]
    assert "━" in shown[1]
    assert shown[3].split()[-5:] == ["0", "B", "of", "1.0", "GiB"]
    assert shown[-1].split() == ["So", "far", "this", "period", "0.00", "USD"]
    document = spoke("usage", "--json").document
    assert document["usage"]["modules_count"] == 1
    assert document["upcoming"]["amount_cents"] == 0


def test_a_developer_sees_usage_without_the_costs(spoke, login):
    login("developer")
    done = spoke("usage")
    assert (done.code, done.err) == (0, "What it costs is for owners and admins to see.\n")
    assert "So far" not in done.out
    assert spoke("usage", "--json").document["upcoming"] is None


def test_an_exhausted_hour_is_said_to_be_so(spoke, login, committed_cast):
    login("owner")
    staff = committed_cast.client("staff")
    done = staff.patch("/orgs/acme/quotas", {"api_rate_limit_per_hour": 1})
    assert done.status_code == 200
    codes = [spoke("modules", "--json").code for _ in range(2)]
    limited = spoke("modules", "--json")
    assert (codes[-1], limited.code) == (5, 5)
    assert limited.document["error"]["code"] == "rate_limited"
    assert "Try again in" in limited.err
