"""A number that was deleted never comes to mean something else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.files import Push, PushedFile
from registry.models import RetiredVersion, Version
from registry.tests.conftest import PROTO, files, gauge, make_module, push

URL = "/orgs/acme/modules/pay"
# Their order by bytes is not that by letters, by case or by folder.
PATHS = ["a.proto", "a-b.proto", "a/b.proto", "B.proto", "ab/é.proto", "ab/z.proto", "README.md"]
FIRST = [{"path": path, "content": f"{PROTO}// {path}\n"} for path in PATHS]
OTHER = [*FIRST[:-1], {"path": "README.md", "content": "other"}]


@pytest.fixture(autouse=True)
def module(owner):
    return make_module(owner)


def refused(response) -> bool:
    assert (response.status_code, response.json()["code"]) == (409, "version_deleted")
    assert response.json()["errors"][0]["field"] == "version"
    return True


def test_a_deleted_number_is_only_published_again_as_it_was(owner, cast, module):
    assert push(owner, "1.0.0", FIRST).status_code == 201
    assert owner.delete(f"{URL}/versions/1.0.0").status_code == 204
    assert refused(push(owner, "1.0.0", OTHER))
    assert refused(push(owner, "1.0.0+build", OTHER))
    body = {"version": "1.0.0", "files": OTHER}
    assert refused(owner.post(f"{URL}/versions?dry_run=true", body))
    assert not Version.objects.exists()
    assert gauge("versions", cast.org.pk, module["id"]) == gauge("storage", cast.org.pk) == 0
    assert push(owner, "1.0.0", FIRST[::-1]).status_code == 201
    # Deleted a second time it is what it was.
    owner.delete(f"{URL}/versions/1.0.0")
    assert refused(push(owner, "1.0.0", OTHER))
    assert RetiredVersion.objects.count() == 1
    assert push(owner, "1.0.1", OTHER).status_code == 201


def test_nor_is_one_whose_module_was_deleted_and_made_anew(owner):
    push(owner, "1.0.0", FIRST)
    push(owner, "1.1.0", OTHER)
    assert owner.delete(URL).status_code == 204
    make_module(owner)
    assert refused(push(owner, "1.0.0", OTHER))
    assert refused(push(owner, "1.1.0", FIRST))
    assert push(owner, "1.0.0", FIRST).status_code == 201
    assert push(owner, "1.1.0", OTHER).status_code == 201


def test_other_modules_and_organizations_have_their_own_numbers(owner, cast, api):
    push(owner, "1.0.0", FIRST)
    owner.delete(f"{URL}/versions/1.0.0")
    make_module(owner, "other")
    assert push(owner, "1.0.0", OTHER, module="other").status_code == 201
    rival = api("outsider")
    make_module(rival, "pay", org="rival")
    body = {"version": "1.0.0", "files": OTHER}
    assert rival.post("/orgs/rival/modules/pay/versions", body).status_code == 201
    assert list(RetiredVersion.objects.values_list("org", flat=True)) == [cast.org.pk]


def test_a_push_that_was_refused_or_never_was_keeps_no_number(owner):
    assert push(owner, "1.0.0", files(a="nonsense")).status_code == 400
    assert not RetiredVersion.objects.exists()
    assert push(owner, "1.0.0", OTHER).status_code == 201


@given(st.dictionaries(st.text("ab/é", min_size=1, max_size=4), st.binary(max_size=2), min_size=1))
def test_the_digest_of_content_knows_paths_and_contents_and_no_order(contents):
    made = [PushedFile(path, content) for path, content in contents.items()]
    one = Push("1.0.0", "", tuple(made)).content_digest
    assert Push("2.0.0", "x", tuple(made[::-1])).content_digest == one
    changed = (*made[1:], PushedFile(made[0].path, made[0].content + b"!"))
    assert Push("1.0.0", "", changed).content_digest != one
