"""What the edge needs to know of a request: who sent it, and from where."""

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The client's address, believing only as many X-Forwarded-For hops as there are proxies.

    Each trusted proxy appends the address that it saw, so the client is the entry that the
    outermost trusted proxy wrote: the SPOKE_TRUSTED_PROXIES-th from the right. Anything further
    left was sent by the client and proves nothing.
    """
    hops: int = settings.SPOKE_TRUSTED_PROXIES
    if hops:
        chain = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
        if len(chain) >= hops and chain[-hops]:
            return chain[-hops]
    # A server behind a unix socket has no peer address.
    return str(request.META.get("REMOTE_ADDR") or "127.0.0.1")


def wants_page(request: HttpRequest) -> bool:
    """Whether a browser asks at an address that has pages for people."""
    pages = request.path.startswith(("/accounts/", "/admin/"))
    return pages and "text/html" in request.headers.get("Accept", "")
