"""What the edge needs to know of a request: who sent it, and from where."""

import ipaddress
import re

from django.conf import settings
from django.http import HttpRequest

WITH_PORT = re.compile(r"([0-9.]+):[0-9]+|\[([^]%]+)(?:%[^]]*)?](?::[0-9]+)?")


def told_address(request: HttpRequest) -> str | None:
    """The client's address, believing only as many X-Forwarded-For hops as there are proxies.

    Each trusted proxy appends the address that it saw, so the client is the entry that the
    outermost trusted proxy wrote: the SPOKE_TRUSTED_PROXIES-th from the right. Anything further
    left was sent by the client and proves nothing. The port that some proxies add is left out. None
    where what stands there is no address, such as `unknown`.
    """
    hops: int = settings.SPOKE_TRUSTED_PROXIES
    if hops:
        chain = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
        if len(chain) >= hops and chain[-hops]:
            return _address(chain[-hops])
    return _peer(request)


def client_address(request: HttpRequest) -> str:
    """The address that limits go by: the one told, or where that is none the peer's."""
    return told_address(request) or _peer(request) or "127.0.0.1"


def _peer(request: HttpRequest) -> str | None:
    # A server behind a unix socket has no peer address.
    return _address(str(request.META.get("REMOTE_ADDR") or "127.0.0.1"))


def wants_page(request: HttpRequest) -> bool:
    """Whether a browser asks at an address that has pages for people."""
    pages = request.path.startswith(("/accounts/", "/admin/", "/app/"))
    return pages and "text/html" in request.headers.get("Accept", "")


def _address(text: str) -> str | None:
    """The IP address in `192.0.2.7`, `192.0.2.7:443`, `2001:db8::7` or `[2001:db8::7]:443`.

    What a socket for both kinds of addresses says of IPv4, `::ffff:192.0.2.7`, is IPv4: limits go by
    the network of an IPv6 address, and that of these holds everybody.
    """
    found = WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address((found[1] or found[2]) if found else text.partition("%")[0])
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)
