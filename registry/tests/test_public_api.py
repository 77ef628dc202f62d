"""Public modules, read by anybody who is signed in, on their own organization's account."""

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from orgs.models import Organization
from orgs.roles import Scope
from quotas.services import rate_limit
from registry.models import Module
from registry.tests.conftest import files, make_module, push
from spoke.core import tenancy
from tests.factories import MembershipFactory, UserFactory

URL = "/modules/acme/pay"
PAGES = ("", "/versions", "/versions/1.0.0", "/versions/latest", "/versions/1.0.0/archive")
PATHS = (*PAGES, "/versions/1.0.0/files/a.proto")


@pytest.fixture(autouse=True)
def module(owner):
    made = make_module(owner, is_public=True, description="Payments")
    push(owner, "1.0.0", files(a="// content\n"))
    push(owner, "1.1.0-rc.1", files(a="// new\n"))
    return made


def used(org) -> int:
    return rate_limit.requests_of_hour(org_id=org.pk) or 0


def test_an_outsider_reads_all_of_it(api, cast):
    outsider = api("outsider")
    body = outsider.get(URL).json()
    module = Module.objects.get()
    assert body == {
        "organization": {"name": "acme", "display_name": cast.org.display_name},
        "name": "pay",
        "description": "Payments",
        "versions_count": 2,
        "latest_version": "1.0.0",
        "created_at": module.created_at.isoformat().replace("+00:00", "Z"),
        "updated_at": module.updated_at.isoformat().replace("+00:00", "Z"),
    }
    listed = outsider.get(f"{URL}/versions").json()["results"]
    assert [version["version"] for version in listed] == ["1.1.0-rc.1", "1.0.0"]
    detail = outsider.get(f"{URL}/versions/latest").json()
    assert (detail["version"], detail["dependencies"]) == ("1.0.0", [])
    assert [file["path"] for file in detail["files"]] == ["a.proto"]
    assert "created_by_id" not in detail
    assert outsider.get(f"{URL}/versions/1.0.0/files/a.proto").content == b"// content\n"
    archive = outsider.get(f"{URL}/versions/1.0.0/archive?format=zip")
    own = api("owner").get("/orgs/acme/modules/pay/versions/1.0.0/archive?format=zip")
    assert archive.content == own.content


@pytest.mark.parametrize("path", ["/archive?format=zip", "/files/a.proto"])
def test_what_the_reader_has_already_is_not_read_again(api, monkeypatch, path):
    outsider = api("outsider")
    first = outsider.get(f"{URL}/versions/1.0.0{path}")

    def unread(*_):
        raise AssertionError

    monkeypatch.setattr("registry.storage.read_content", unread)
    again = outsider.get(f"{URL}/versions/1.0.0{path}", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])


def test_private_and_unknown_are_a_404_alike(owner, api):
    outsider = api("outsider")
    owner.patch("/orgs/acme/modules/pay", {"is_public": False})
    for client in (outsider, owner):
        private = [client.get(URL + path) for path in PATHS]
        unknown = [client.get("/modules/acme/nothing" + path) for path in PATHS]
        nobody = [client.get("/modules/no-org/pay" + path) for path in PATHS]
        for answers in zip(private, unknown, nobody, strict=True):
            bodies = [{**answer.json(), "request_id": ""} for answer in answers]
            assert bodies[0]["status"] == 404
            assert bodies[0] == bodies[1] == bodies[2]


@pytest.mark.parametrize("path", ["/modules/a%00/pay", "/modules/acme/p%00", "/modules/%ff/x"])
def test_names_that_none_can_have(api, path):
    for rest in PATHS:
        assert api("outsider").get(path + rest).status_code == 404


def test_a_closed_organization_shows_nothing(api, cast):
    now = timezone.now()
    outsider = api("outsider")
    Organization.objects.filter(pk=cast.org.pk).update(
        status="closed", closed_at=now, purge_after=now
    )
    for path in PATHS:
        assert outsider.get(URL + path).status_code == 404


def test_nobody_reads_it_without_signing_in_and_nobody_writes(api):
    for path in PATHS:
        assert APIClient().get(URL + path).status_code == 401
        for method in ("post", "put", "patch", "delete"):
            assert getattr(api("owner"), method)(URL + path).status_code == 405
    assert Module.objects.get().revision == 3


def test_it_is_counted_to_the_callers_organization(api, cast):
    outsider = api("outsider")
    before = used(cast.org)
    for path in PATHS:
        response = outsider.get(URL + path)
        assert response.status_code == 200
        assert response.headers["X-RateLimit-Limit"] == "1000"
    assert used(cast.other_org) == len(PATHS)
    assert used(cast.org) == before


def test_the_limit_is_the_callers(api, cast, monkeypatch):
    monkeypatch.setattr("quotas.api.throttling._api_limit", lambda org_id, grant, now: 2)
    outsider = api("outsider")
    assert [outsider.get(URL).status_code for _ in range(3)] == [200, 200, 429]
    assert outsider.get(f"{URL}/versions").json()["code"] == "rate_limited"


def test_a_person_names_the_organization(api, cast):
    client = api("outsider")
    MembershipFactory(org=cast.org, user=cast.outsider, role="viewer")
    before = used(cast.org)
    assert client.get(URL).status_code == 200  # on the oldest one's account
    assert (used(cast.other_org), used(cast.org)) == (1, before)
    for named in ("acme", str(cast.org.pk)):
        assert client.get(URL, headers={"X-Spoke-Organization": named}).status_code == 200
    assert (used(cast.other_org), used(cast.org)) == (1, before + 2)


@pytest.mark.parametrize(
    "named",
    ["acme", "no-such-org", "99999", "9" * 5000, "a b", "\N{SNOWMAN}"],
)
@pytest.mark.parametrize("who", ["outsider", "staff"])
def test_an_organization_of_others_is_refused(api, cast, named, who):
    before = used(cast.org)
    named = named.encode().decode("latin-1")
    response = api(who).get(URL, headers={"X-Spoke-Organization": named})
    assert response.status_code == 400
    error = response.json()["errors"][0]
    assert (error["field"], error["code"]) == ("X-Spoke-Organization", "not_a_member")
    assert used(cast.org) == before


def test_whoever_has_no_organization_has_a_limit_of_their_own(api, cast):
    response = api("staff").get(URL)
    assert response.status_code == 200
    assert response.headers["X-RateLimit-Limit"] == "5000"
    person = UserFactory(email="alone@example.com")
    client = APIClient()
    client.force_login(person)
    assert client.get(URL).headers["X-RateLimit-Limit"] == "5000"


def test_a_service_token_reads_on_its_organizations_account(api, cast):
    made = api("outsider").post(
        "/orgs/rival/tokens", {"name": "ci", "scopes": ["read"], "role": "viewer"}
    )
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {made.json()['token']}")
    before = used(cast.other_org)
    assert client.get(URL).status_code == 200
    assert used(cast.other_org) == before + 1
    assert client.get(URL, headers={"X-Spoke-Organization": "acme"}).status_code == 400


def test_scopes_bound_it(api, cast):
    assert api("outsider", Scope.READ).get(URL).status_code == 200
    for who in ("outsider", "staff"):
        response = api(who, Scope.USAGE_WRITE).get(URL)
        assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")


def test_no_row_is_shared_without_the_module_being_public(api, cast):
    make_module(api("owner"), "secret")
    push(api("owner"), "1.0.0", files(a="// secret\n"), module="secret")
    with tenancy.scoped(tenancy.Scope(shared=True)):
        assert list(Module.objects.values_list("name", flat=True)) == ["pay"]
        assert {file.path for file in Module.objects.get().versions.first().files.all()}
        assert Organization.objects.count() == 1
