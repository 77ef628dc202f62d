"""What the edge needs to know of a request: who sent it, and from where."""

import ipaddress
import re

from django.conf import settings
from django.http import HttpRequest

WITH_PORT = re.compile(r"([0-9.]+):[0-9]+|\[([^]%]+)(?:%[^]]*)?](?::[0-9]+)?")


def client_address(request: HttpRequest) -> str:
    """The client's address, believing only as many X-Forwarded-For hops as there are proxies.

    Each trusted proxy appends the address that it saw, so the client is the entry that the
    outermost trusted proxy wrote: the SPOKE_TRUSTED_PROXIES-th from the right. Anything further
    left was sent by the client and proves nothing. An entry that is no address, such as `unknown`,
    counts as none; the port that some proxies add is left out.
    """
    hops: int = settings.SPOKE_TRUSTED_PROXIES
    if hops:
        chain = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
        if len(chain) >= hops and (address := _address(chain[-hops])):
            return address
    # A server behind a unix socket has no peer address.
    peer = str(request.META.get("REMOTE_ADDR") or "127.0.0.1")
    return _address(peer) or peer


def wants_page(request: HttpRequest) -> bool:
    """Whether a browser asks at an address that has pages for people."""
    pages = request.path.startswith(("/accounts/", "/admin/"))
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
