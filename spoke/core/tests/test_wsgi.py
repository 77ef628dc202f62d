"""Requests that Django cannot make a request of."""

import pytest
from django.test import RequestFactory

from spoke.core.wsgi import ForgivingRequest, Handler


def environ_of(**values):
    return RequestFactory()._base_environ(**values)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "content_type",
    ["application/json; x*=nonsense''b", "multipart/form-data; boundary*=a; boundary*0=b"],
)
def test_a_content_type_that_cannot_be_read_is_none(db, content_type):
    environ = environ_of(REQUEST_METHOD="POST", PATH_INFO="/nowhere", CONTENT_TYPE=content_type)
    assert ForgivingRequest(dict(environ)).content_type == ""
    answered = []
    body = Handler()(environ, lambda status, headers: answered.append(status))
    assert answered == ["404 Not Found"]
    assert b'"not_found"' in b"".join(body)


def test_one_that_can_is_kept():
    environ = environ_of(CONTENT_TYPE="text/plain; charset=latin-1")
    request = ForgivingRequest(environ)
    assert (request.content_type, request.encoding) == ("text/plain", "latin-1")
