"""Depending on a version while it is deleted, and pushing past each other: real threads."""

from collections import Counter
from functools import partial

from conftest import door
from registry.models import Module, Version, VersionDependency
from registry.services.dependencies import closure_of
from registry.tests.conftest import files, gauge, make_module, push
from registry.tests.threads import run_together

ROUNDS = 8
V3 = 'syntax = "proto3"; package p;'
BASE = files(a=f"{V3} message M {{}}")
MORE = files(a=f"{V3} message M {{}} message N {{}}")


def test_of_depending_and_deleting_at_once_one_is_refused(committed):
    owner, rival = committed.client("owner"), committed.client("outsider")
    rival.post("/orgs/rival/modules", {"name": "time", "is_public": True})
    make_module(owner)
    theirs = "/orgs/rival/modules/time/versions"
    outcomes: Counter[tuple[int, int]] = Counter()
    for number in range(ROUNDS):
        version = f"1.{number}.0"
        made = rival.post(theirs, {"version": version, "files": files(time="")})
        assert made.status_code == 201
        pushed, deleted = run_together(
            [
                partial(push, owner, version, dependencies=[f"rival/time@{version}"]),
                partial(rival.delete, f"{theirs}/{version}"),
            ]
        )
        outcomes[pushed.status_code, deleted.status_code] += 1
        if pushed.status_code == 201:
            assert deleted.json()["code"] == "version_in_use"
        else:
            code = pushed.json()["code"]
            assert code in ("unknown_dependency", "dependency_gone", "module_changed"), code
    assert set(outcomes) <= {(201, 409), (400, 204), (409, 204)}
    with door():
        mine = list(Version.objects.filter(org=committed.org))
        assert VersionDependency.objects.count() == len(mine)
        assert not VersionDependency.objects.filter(target=None).exists()
        assert gauge("versions", committed.org.pk) == len(mine)
        theirs_now = Version.objects.filter(org=committed.other_org).count()
        assert gauge("versions", committed.other_org.pk) == theirs_now == len(mine)
    for published in mine:
        assert len(closure_of(version=published)) == 1


def test_nothing_breaks_by_being_pushed_past(committed):
    """Each fits the version before; the later one by precedence does not fit the earlier one."""
    owner, other = committed.client("owner"), committed.client("owner")
    for number in range(ROUNDS // 2):
        name = f"m{number}"
        make_module(owner, name, breaking_policy="refuse")
        assert push(owner, "1.0.0", BASE, module=name).status_code == 201
        lower, higher = run_together(
            [
                partial(push, owner, "1.1.0", MORE, module=name),
                partial(push, other, "1.2.0", BASE, module=name),
            ]
        )
        assert lower.status_code == 201, lower.content
        if higher.status_code == 201:
            # It was there first, and nothing stood between it and 1.0.0.
            assert higher.json()["id"] < lower.json()["id"]
        else:
            assert higher.json()["code"] in ("breaking_change", "module_changed")
    with door():
        assert Module.objects.count() == ROUNDS // 2
        assert gauge("versions", committed.org.pk) == Version.objects.count()
