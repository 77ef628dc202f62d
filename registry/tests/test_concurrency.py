"""Real threads against the real database: limits, counts and files hold whatever the order."""

from collections import Counter
from datetime import timedelta
from functools import partial
from threading import Event

import pytest
from django.db.models import Sum
from django.utils import timezone

from conftest import door
from orgs.context import SYSTEM
from orgs.models import AuditEvent, Organization
from registry import storage
from registry.files import Push, PushedFile
from registry.models import Blob, Module, Version, VersionFile
from registry.services import pushing, sweeping, versions
from registry.services.contents import announce_contents, hold_contents
from registry.services.usage import count_storage, versions_by_module
from registry.tests.conftest import contents_in, files, gauge, make_module, push
from registry.tests.threads import run_together
from spoke.core import tenancy
from spoke.core.errors import ServiceUnavailable
from tests.support.waiting import one_waits

URL = "/orgs/acme/modules"


def assert_counted_exactly(org: Organization) -> None:
    """Gauges equal rows, references equal files."""
    with door():
        held = Blob.objects.filter(org=org).counted()
        assert gauge("storage", org.pk) == (held.aggregate(n=Sum("size_bytes"))["n"] or 0)
        assert gauge("storage", org.pk) == count_storage(org.pk)
        assert gauge("modules", org.pk) == Module.objects.filter(org=org).count()
        assert gauge("versions", org.pk) == Version.objects.filter(org=org).count()
        for module_id, count in versions_by_module(org.pk).items():
            assert gauge("versions", org.pk, module_id) == count
        references = Counter(VersionFile.objects.filter(org=org).values_list("blob_id", flat=True))
        assert dict(held.values_list("pk", "references")) == dict(references)


def assert_readable(client, module: str) -> None:
    """Every file of every version is there, byte for byte of its size."""
    for version in client.get(f"{URL}/{module}/versions?limit=200").json()["results"]:
        base = f"{URL}/{module}/versions/{version['version']}"
        for file in client.get(base).json()["files"]:
            response = client.get(f"{base}/files/{file['path']}")
            assert response.status_code == 200
            assert len(response.content) == file["size_bytes"]


@pytest.mark.parametrize("same_name", [False, True])
def test_sixteen_at_once_make_five_modules(committed, same_name):
    clients = [committed.client("owner") for _ in range(16)]
    names = ["m" if same_name and number % 2 else f"m{number}" for number in range(16)]
    responses = run_together(
        [
            partial(client.post, URL, {"name": name})
            for client, name in zip(clients, names, strict=True)
        ]
    )
    counts = Counter(response.status_code for response in responses)
    assert counts[201] == 5
    assert set(counts) <= {201, 403, 409}
    for response in responses:
        if response.status_code == 403:
            body = response.json()
            assert {name: body[name] for name in ("error", "resource", "current", "limit")} == {
                "error": "quota_exceeded",
                "resource": "modules",
                "current": 5,
                "limit": 5,
            }
        elif response.status_code == 409:
            assert same_name
            assert response.json()["code"] == "module_exists"
    with door():
        assert Module.objects.count() == 5
        assert gauge("modules", committed.org.pk) == 5
        assert AuditEvent.objects.filter(action="module.created").count() == 5


def test_making_and_deleting_one_name_over_and_over(committed):
    clients = [committed.client("owner") for _ in range(6)]

    def work(client, index):
        codes: Counter[int] = Counter()
        for _ in range(8):
            if index % 2:
                codes[client.delete(f"{URL}/pay").status_code] += 1
            else:
                codes[client.post(URL, {"name": "pay"}).status_code] += 1
        return codes

    total: Counter[int] = sum(
        run_together([partial(work, c, i) for i, c in enumerate(clients)]), Counter()
    )
    assert set(total) <= {201, 204, 404, 409}
    with door():
        assert Module.objects.count() == total[201] - total[204]
    assert_counted_exactly(committed.org)


def test_pushes_that_share_content_are_counted_exactly(committed):
    owner = committed.client("owner")
    for name in ("a", "b", "c"):
        make_module(owner, name)
    clients = [committed.client("owner") for _ in range(6)]

    def content(index: int) -> list[dict[str, str]]:
        # Overlapping sets, named so that their natural orders differ.
        parts = [f"//part {(index * 3 + step) % 8}" * 9 for step in range(5)]
        named = [{"path": f"{step}.proto", "content": text} for step, text in enumerate(parts)]
        return named[::-1] if index % 2 else named

    def work(client, index):
        module = "abc"[index % 3]
        return [
            push(client, f"1.{index}.{patch}", content(index + patch), module=module).status_code
            for patch in range(4)
        ]

    codes = run_together([partial(work, c, i) for i, c in enumerate(clients)])
    assert codes == [[201] * 4] * 6
    assert_counted_exactly(committed.org)
    for name in ("a", "b", "c"):
        assert_readable(owner, name)


def test_one_version_pushed_by_many_is_published_once(committed):
    owner = committed.client("owner")
    make_module(owner)
    clients = [committed.client("owner") for _ in range(6)]
    responses = run_together(
        [partial(push, c, "1.0.0", files(a=f"// by {i % 2}")) for i, c in enumerate(clients)]
    )
    assert sorted(r.status_code for r in responses) == [201] + [409] * 5
    with door():
        assert Version.objects.count() == 1
        assert gauge("storage", committed.org.pk) == len("// by 0")
    assert_counted_exactly(committed.org)


def test_pushing_deleting_and_sweeping_the_same_content_loses_nothing(committed):
    owner = committed.client("owner")
    make_module(owner, "a")
    make_module(owner, "b")
    make_module(owner, "keep")
    shared = files(x="// shared", y="// more shared")
    pushers = [committed.client("owner") for _ in range(2)]
    org_id = committed.org.pk
    done = Event()

    def churn(client, module):
        codes = set()
        for number in range(8):
            codes.add(push(client, f"1.0.{number}", shared, module=module).status_code)
            codes.add(client.delete(f"{URL}/{module}/versions/1.0.{number}").status_code)
        return codes

    def publish():
        try:
            return {
                push(owner, f"1.0.{number}", shared, module="keep").status_code
                for number in range(8)
            }
        finally:
            done.set()

    def sweep():
        swept = 0
        while not done.is_set():
            swept += sweeping.sweep_organization(org_id=org_id, now=timezone.now())
        return swept

    results = run_together(
        [
            partial(churn, pushers[0], "a"),
            partial(churn, pushers[1], "b"),
            publish,
            sweep,
        ]
    )
    assert results[:3] == [{201, 204}, {201, 204}, {201}]
    assert results[3] == 0
    assert_counted_exactly(committed.org)
    assert_readable(owner, "keep")


def test_content_that_many_hold_at_once_is_counted_once(committed):
    """The blobs' own locks, without those that a version's gauge lends to a whole push."""
    org_id, now = committed.org.pk, timezone.now()
    pushed = [PushedFile(f"{step}.proto", b"%d" % (step % 10) * 10) for step in range(20)]
    contents = {file.digest: file.content for file in pushed}
    with tenancy.organization(org_id):
        announce_contents(org_id=org_id, contents=contents, now=now)

    def hold(index: int) -> None:
        for _ in range(5):
            with tenancy.organization(org_id):
                hold_contents(org_id=org_id, files=pushed[:: -1 if index % 2 else 1], now=now)

    run_together([partial(hold, index) for index in range(4)])
    with door():
        assert gauge("storage", org_id) == 100
        assert set(Blob.objects.values_list("references", flat=True)) == {4 * 5 * 2}


def a_push(version: str, *contents: str) -> Push:
    pushed = (PushedFile(f"{i}.proto", text.encode()) for i, text in enumerate(contents))
    return Push(version=version, description="", files=tuple(pushed))


def test_a_push_waits_for_the_sweep_of_its_content_and_writes_it_anew(
    committed, monkeypatch, stored
):
    """The narrowest moment: the sweep has deleted the row and the file, and has not committed."""
    owner = committed.client("owner")
    make_module(owner)
    push(owner, "1.0.0", files(a="// same content"))
    owner.delete(f"{URL}/pay/versions/1.0.0")
    org_id, later = committed.org.pk, timezone.now() + timedelta(days=2)
    file_gone, waiting = Event(), Event()
    delete = storage.delete_content

    def delete_and_wait(org_id: int, digest: str) -> None:
        delete(org_id, digest)
        file_gone.set()
        assert waiting.wait(30)

    monkeypatch.setattr(storage, "delete_content", delete_and_wait)

    def sweep():
        return sweeping.sweep_organization(org_id=org_id, now=later)

    def push_again():
        assert file_gone.wait(30)
        assert contents_in(stored) == []
        return push(owner, "1.0.0", files(a="// same content")).status_code

    def watch():
        # The sweep goes on once the push stands waiting at the lock.
        if one_waits():
            waiting.set()

    assert run_together([sweep, push_again, watch])[:2] == [1, 201]
    assert owner.get(f"{URL}/pay/versions/1.0.0/files/a.proto").content == b"// same content"
    assert_counted_exactly(committed.org)


def test_an_announcement_holds_off_the_sweep_for_a_day_and_then_expires(committed, stored):
    owner = committed.client("owner")
    make_module(owner)
    org_id, actor, now = committed.org.pk, SYSTEM, timezone.now()
    wanted = a_push("1.0.0", "// first", "// second")
    checked = pushing.prepare_push(org_id=org_id, module_name="pay", push=wanted, now=now)
    assert len(contents_in(stored)) == 2
    almost = now + timedelta(hours=23, minutes=59)
    assert sweeping.sweep_organization(org_id=org_id, now=almost) == 0
    assert len(contents_in(stored)) == 2
    assert sweeping.sweep_organization(org_id=org_id, now=now + timedelta(hours=25)) == 2
    assert contents_in(stored) == []
    with pytest.raises(ServiceUnavailable, match="Send it again"), tenancy.organization(org_id):
        versions.publish_version(
            org_id=org_id, actor=actor, module_name="pay", checked=checked, now=now
        )
    with door():
        assert not Version.objects.exists()
        assert not Blob.objects.exists()
    assert_counted_exactly(committed.org)
    assert push(owner, "1.0.0", files(a="// first")).status_code == 201
    assert_readable(owner, "pay")
