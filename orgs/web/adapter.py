"""How sign-up and its e-mails fit Spoke."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest

from spoke.core.http import client_address


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """The library's defaults, with our own idea of a client's address."""

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request)
