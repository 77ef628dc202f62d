"""Dependencies between versions: found, resolved, held, and read across organizations."""

import pytest

from orgs.models import Organization, RetiredName
from orgs.services.organizations import purge_organization
from registry.models import Module, Version, VersionDependency
from registry.services.dependencies import closure_of, source_files
from registry.tests.conftest import gauge, make_module, push
from spoke.core import tenancy
from spoke.core.errors import Conflict

V3 = 'syntax = "proto3";\n'
ACME = "/orgs/acme/modules"


@pytest.fixture
def rival(plans, api):
    return api("outsider")


def proto(name: str, *imports: str) -> list[dict[str, str]]:
    """One file that defines a message of its own and uses those of other files."""
    lines = [V3, f"package {name};\n", *(f'import "{one}.proto";\n' for one in imports)]
    uses = "".join(f"{one}.M m{n} = {n};" for n, one in enumerate(imports, start=1))
    return [{"path": f"{name}.proto", "content": "".join(lines) + f"message M {{ {uses} }}\n"}]


def publish(client, name, version="1.0.0", imports=(), dependencies=(), org="acme", **module):
    """The answer to pushing a version of a module, which is made if need be."""
    client.post(f"/orgs/{org}/modules", {"name": name, **module})
    body = {
        "version": version,
        "files": proto(name, *imports),
        "dependencies": dependencies,
    }
    return client.post(f"/orgs/{org}/modules/{name}/versions", body)


def names(versions) -> list[str]:
    with tenancy.all_organizations(reason="test"):
        rows = Version.objects.select_related("module").in_bulk([one.pk for one in versions])
    return [f"{rows[one.pk].module.name}@{one.version}" for one in versions]


def test_all_that_a_version_needs_is_found(owner):
    assert publish(owner, "a").status_code == 201
    assert publish(owner, "b", imports="a", dependencies=["a@1.0.0"]).status_code == 201
    assert publish(owner, "c", imports="a", dependencies=["a@1.0.0"]).status_code == 201
    response = publish(
        owner, "d", imports=["a", "b", "c"], dependencies=["b@1.0.0", "acme/c@1.0.0"]
    )
    assert response.status_code == 201, response.content
    assert response.json()["dependencies"] == ["b@1.0.0", "c@1.0.0"]
    assert owner.get(f"{ACME}/d/versions/1.0.0").json()["dependencies"] == ["b@1.0.0", "c@1.0.0"]
    version = Version.objects.get(module__name="d")
    assert names(closure_of(version=version)) == ["a@1.0.0", "b@1.0.0", "c@1.0.0"]
    kept = version.dependencies.order_by("reference")
    assert list(kept.values_list("reference", "is_direct")) == [
        ("acme/a@1.0.0", False),
        ("acme/b@1.0.0", True),
        ("acme/c@1.0.0", True),
    ]


def test_without_the_dependency_the_import_is_missing(owner):
    publish(owner, "a")
    response = publish(owner, "b", imports="a")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_proto")


@pytest.mark.parametrize(
    ("dependencies", "place", "code"),
    [
        (["nothing@1.0.0"], "dependencies.0", "unknown_dependency"),
        (["a@1.0.0", "a@9.0.0"], "dependencies.1", "unknown_dependency"),
        (["rival/secret@1.0.0"], "dependencies.0", "unknown_dependency"),
        (["no-such-org/a@1.0.0"], "dependencies.0", "unknown_dependency"),
        (["a@1.0.0", "a@1.1.0"], "dependencies.1", "dependency_conflict"),
        (["b@1.0.0", "a@1.1.0"], "dependencies.1", "dependency_conflict"),
        (["d@0.9.0"], "dependencies.0", "dependency_cycle"),
        (["e@1.0.0"], "dependencies.0", "dependency_cycle"),
        (["old@1.0.0"], "dependencies.0", "yanked_dependency"),
        (["a@^1.0.0"], "dependencies.0", "invalid_dependency"),
        (["a"], "dependencies.0", "invalid_dependency"),
        (["../a@1.0.0"], "dependencies.0", "invalid_dependency"),
        (["a@1.0.0", "a@1.0.0"], "dependencies.1", "duplicate_dependency"),
        ([7], "dependencies.0", "invalid_dependency"),
        (["a@1.0.0"] * 51, "dependencies", "max_length"),
        ("a@1.0.0", "dependencies", "not_a_list"),
    ],
)
def test_faults_name_the_dependency(owner, rival, dependencies, place, code):
    publish(owner, "a")
    publish(owner, "a", "1.1.0")
    publish(owner, "b", imports="a", dependencies=["a@1.0.0"])
    publish(owner, "d", "0.9.0")
    publish(owner, "e", imports="d", dependencies=["d@0.9.0"])
    publish(owner, "old")
    owner.post(f"{ACME}/old/versions/1.0.0/yank")
    publish(rival, "secret", org="rival")
    before = Version.objects.count()
    response = publish(owner, "d", dependencies=dependencies)
    assert response.status_code == 400, response.content
    assert [(e["field"], e["code"]) for e in response.json()["errors"]] == [(place, code)]
    assert Version.objects.count() == before


def test_one_path_comes_from_one_module(owner):
    publish(owner, "a")
    make_module(owner, "copy")
    assert push(owner, "1.0.0", proto("a"), module="copy").status_code == 201
    response = publish(owner, "b", imports="a", dependencies=["a@1.0.0", "copy@1.0.0"])
    assert [(e["field"], e["code"]) for e in response.json()["errors"]] == [
        ("dependencies.1", "dependency_conflict")
    ]
    assert "a.proto comes from both acme/a@1.0.0 and acme/copy@1.0.0" in response.json()["detail"]


@pytest.mark.parametrize(
    ("name", "most"), [("MAX_CLOSURE", 1), ("MAX_CLOSURE_FILES", 1), ("MAX_CLOSURE_BYTES", 60)]
)
def test_what_a_version_needs_is_bounded(owner, monkeypatch, name, most):
    publish(owner, "a")
    publish(owner, "b", imports="a", dependencies=["a@1.0.0"])
    monkeypatch.setattr(f"registry.services.dependencies.{name}", most)
    assert publish(owner, "c", imports="a", dependencies=["a@1.0.0"]).status_code == 201
    refused = publish(owner, "c", "1.1.0", imports="b", dependencies=["b@1.0.0"])
    assert [(e["field"], e["code"]) for e in refused.json()["errors"]] == [
        ("dependencies", "too_many_dependencies")
    ]


def test_what_is_depended_upon_cannot_be_deleted(owner, cast):
    publish(owner, "a")
    publish(owner, "b", imports="a", dependencies=["a@1.0.0"])
    stored = gauge("storage", cast.org.pk)
    for url in (f"{ACME}/a/versions/1.0.0", f"{ACME}/a"):
        response = owner.delete(url)
        assert (response.status_code, response.json()["code"]) == (409, "version_in_use")
        assert response.json()["dependants"] == ["b@1.0.0"]
        assert response.json()["dependants_elsewhere"] == 0
    assert gauge("storage", cast.org.pk) == stored
    assert owner.delete(f"{ACME}/b/versions/1.0.0").status_code == 204
    assert owner.delete(f"{ACME}/a").status_code == 204
    assert not VersionDependency.objects.exists()


def test_a_module_is_deleted_with_versions_and_what_they_depend_on(owner):
    publish(owner, "a")
    publish(owner, "b", imports="a", dependencies=["a@1.0.0"])
    publish(owner, "b", "1.1.0", imports="a", dependencies=["a@1.0.0"])
    assert owner.delete(f"{ACME}/b").status_code == 204
    assert not VersionDependency.objects.exists()


def test_another_reason_makes_what_was_read_stale(owner, cast):
    publish(owner, "a")
    url = f"{ACME}/a/versions/1.0.0"
    first = owner.post(f"{url}/yank", {"reason": "Wrong unit"})
    again = owner.post(f"{url}/yank", {"reason": "Wrong unit"})
    assert again.headers["ETag"] == first.headers["ETag"] == owner.get(url).headers["ETag"]
    other = owner.post(f"{url}/yank", {"reason": "Wrong currency"})
    assert other.json()["yanked_at"] == first.json()["yanked_at"]
    read = owner.get(url, headers={"If-None-Match": first.headers["ETag"]})
    assert (read.status_code, read.json()["yank_reason"]) == (200, "Wrong currency")
    old = {"If-Match": first.headers["ETag"]}
    assert owner.delete(url, headers=old).status_code == 412


def test_yanking(owner, cast):
    publish(owner, "a")
    publish(owner, "a", "1.1.0")
    publish(owner, "b", imports="a", dependencies=["a@1.1.0"])
    url = f"{ACME}/a/versions"
    response = owner.post(f"{url}/1.1.0/yank", {"reason": "Wrong unit"})
    assert response.status_code == 200
    assert response.json()["yank_reason"] == "Wrong unit"
    assert response.json()["yanked_at"] is not None
    listed = owner.get(url).json()["results"]
    assert [(v["version"], v["yank_reason"], v["yanked_at"] is None) for v in listed] == [
        ("1.1.0", "Wrong unit", False),
        ("1.0.0", "", True),
    ]
    assert owner.get(f"{url}/latest").json()["version"] == "1.0.0"
    assert owner.get(f"{ACME}/a").json()["latest_version"] == "1.0.0"
    assert owner.get(f"{url}/1.1.0/files/a.proto").status_code == 200
    # Who depended on it goes on, nobody new begins.
    version = Version.objects.get(module__name="b")
    assert names(closure_of(version=version)) == ["a@1.1.0"]
    assert publish(owner, "c", imports="b", dependencies=["b@1.0.0"]).status_code == 201
    refused = publish(owner, "c", "1.1.0", imports="a", dependencies=["a@1.1.0"])
    assert refused.json()["errors"][0]["code"] == "yanked_dependency"
    assert "Wrong unit" in refused.json()["detail"]
    assert gauge("versions", cast.org.pk) == 4
    owner.post(f"{url}/1.0.0/yank")
    assert owner.get(f"{url}/latest").status_code == 404
    assert owner.get(f"{ACME}/a").json()["latest_version"] is None
    back = owner.post(f"{url}/1.1.0/unyank")
    assert (back.json()["yanked_at"], back.json()["yank_reason"]) == (None, "")
    assert owner.get(f"{url}/latest").json()["version"] == "1.1.0"
    assert owner.post(f"{url}/latest/yank").status_code == 400


def test_a_public_module_of_another_organization_serves(owner, rival, cast):
    assert publish(rival, "time", org="rival").status_code == 201
    assert (
        publish(
            rival,
            "common",
            imports=["time"],
            dependencies=["time@1.0.0"],
            org="rival",
            is_public=True,
        ).status_code
        == 201
    )
    wanted = {"imports": ["common"], "dependencies": ["rival/common@1.0.0"]}
    # Public is not enough while it needs what is private.
    response = publish(owner, "pay", **wanted)
    assert response.status_code == 400
    assert response.json()["errors"][0]["code"] == "unavailable_dependency"
    # What is private is not named to others, here or where the public version is read.
    detail = "rival/common@1.0.0 needs a version that is not public."
    assert response.json()["detail"] == detail
    seen = owner.get("/modules/rival/common/versions/1.0.0")
    assert (seen.json()["dependencies"], seen.json()["private_dependencies"]) == ([], 1)
    assert b"time@" not in seen.content
    own = rival.get("/orgs/rival/modules/common/versions/1.0.0").json()
    assert own["dependencies"] == ["time@1.0.0"]
    rival.patch("/orgs/rival/modules/time", {"is_public": True})
    response = publish(owner, "pay", **wanted)
    assert response.status_code == 201, response.content
    assert response.json()["dependencies"] == ["rival/common@1.0.0"]
    seen = owner.get("/modules/rival/common/versions/1.0.0").json()
    assert (seen["dependencies"], seen["private_dependencies"]) == (["time@1.0.0"], 0)
    # Nothing of theirs is counted as ours.
    assert gauge("versions", cast.org.pk) == 1
    assert gauge("storage", cast.org.pk) == len(proto("pay", "common")[0]["content"])


def test_made_private_it_goes_on_serving_who_depends_on_it(owner, rival, cast, api):
    publish(rival, "time", org="rival", is_public=True)
    depends = {"imports": ["time"], "dependencies": ["rival/time@1.0.0"]}
    publish(owner, "pay", **depends)
    assert rival.patch("/orgs/rival/modules/time", {"is_public": False}).status_code == 200
    version = Version.objects.get(module__name="pay")
    (needed,) = closure_of(version=version)
    (file,) = source_files(org_id=cast.org.pk, versions=[needed])
    assert (file.path, file.org_id) == ("time.proto", cast.other_org.pk)
    # The same dependency in the next version, and through another module.
    assert publish(owner, "pay", "1.1.0", **depends).status_code == 201
    assert publish(owner, "app", imports=["pay"], dependencies=["pay@1.1.0"]).status_code == 201
    # Another version of it is out of reach.
    publish(rival, "time", "1.1.0", org="rival")
    late = publish(owner, "pay", "1.2.0", ["time"], ["rival/time@1.1.0"])
    assert late.json()["errors"][0]["code"] == "unknown_dependency"
    # Its owner cannot pull it away, and is not told by whom it is used.
    response = rival.delete("/orgs/rival/modules/time/versions/1.0.0")
    assert (response.status_code, response.json()["code"]) == (409, "version_in_use")
    assert response.json()["dependants"] == []
    assert response.json()["detail"] == "3 other versions depend on it. Yank it instead."
    assert response.json()["dependants_elsewhere"] == 3
    assert b"pay" not in response.content
    assert rival.delete("/orgs/rival/modules/time").status_code == 409
    assert owner.get("/modules/rival/time/versions/1.0.0").status_code == 200
    assert owner.get("/modules/rival/time/versions/1.0.0/files/time.proto").status_code == 200
    assert owner.get("/modules/rival/time/versions/1.1.0").status_code == 404
    assert owner.get("/modules/rival/time").status_code == 404


def test_who_depends_on_a_purged_organization_is_told(owner, rival, cast):
    publish(rival, "time", org="rival", is_public=True)
    publish(owner, "pay", imports=["time"], dependencies=["rival/time@1.0.0"])
    version = Version.objects.get(module__name="pay")
    now = cast.org.created_at
    Organization.objects.filter(pk=cast.other_org.pk).update(
        status="closed", closed_at=now, purge_after=now
    )
    assert purge_organization(org_id=cast.other_org.pk, now=now)
    with pytest.raises(Conflict, match=r"rival/time@1\.0\.0, whose organization is gone"):
        closure_of(version=version)
    assert owner.get(f"{ACME}/pay/versions/1.0.0").json()["dependencies"] == ["rival/time@1.0.0"]
    later = publish(owner, "app", imports=["pay"], dependencies=["pay@1.0.0"])
    assert later.json()["errors"][0]["code"] == "unavailable_dependency"
    gone = "acme/pay@1.0.0 needs rival/time@1.0.0, whose organization is gone."
    assert later.json()["detail"] == gone


def test_who_takes_the_name_of_a_purged_organization_is_not_taken_for_it(owner, rival, cast):
    publish(rival, "time", org="rival", is_public=True)
    depends = {"imports": ["time"], "dependencies": ["rival/time@1.0.0"]}
    assert publish(owner, "pay", **depends).status_code == 201
    now = cast.org.created_at
    Organization.objects.filter(pk=cast.other_org.pk).update(
        status="closed", closed_at=now, purge_after=now
    )
    assert purge_organization(org_id=cast.other_org.pk, now=now)
    # Staff give the name free.
    RetiredName.objects.all().delete()
    assert rival.post("/orgs", {"name": "rival", "display_name": "Not it"}).status_code == 201
    assert publish(rival, "time", org="rival", is_public=True).status_code == 201
    refused = publish(owner, "pay", "1.1.0", **depends)
    assert refused.json()["errors"][0]["code"] == "unavailable_dependency"
    assert "rival is another organization" in refused.json()["detail"]
    assert Version.objects.filter(module__name="pay").count() == 1
    # Nobody else had trusted the other one.
    owner.delete(f"{ACME}/pay")
    assert publish(owner, "pay", "1.1.0", **depends).status_code == 201


def test_without_sharing_a_scope_sees_only_its_own(owner, rival, cast):
    publish(rival, "time", org="rival", is_public=True)
    publish(owner, "pay", imports=["time"], dependencies=["rival/time@1.0.0"])
    mine, theirs = cast.org.pk, cast.other_org.pk
    seen = {}
    for shared in (False, True):
        # The test's own door is closed in here.
        with tenancy.scoped(tenancy.Scope(org_id=mine, shared=shared)):
            seen[shared] = {
                model.__name__: set(model.objects.values_list("org_id", flat=True))
                for model in (Module, Version, VersionDependency)
            }
            changed = Module.objects.filter(org_id=theirs).update(description="stolen")
            deleted, _ = VersionDependency.objects.filter(org_id=theirs).delete()
            assert (changed, deleted) == (0, 0)
    assert seen[False] == {"Module": {mine}, "Version": {mine}, "VersionDependency": {mine}}
    assert seen[True]["Module"] == seen[True]["Version"] == {mine, theirs}
