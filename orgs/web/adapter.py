"""How sign-up and its e-mails fit Spoke."""

from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest

from orgs.emails import seal_message
from orgs.tasks import send_account_email
from spoke.core.http import client_address


class AccountAdapter(DefaultAccountAdapter):
    """The library's defaults, with our own idea of a client's address and of sending e-mail."""

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Enqueued: a mail server that is away breaks no sign-up, and the time taken tells nothing."""
        site = SimpleNamespace(
            name=settings.SITE_NAME, domain=urlsplit(settings.SPOKE_BASE_URL).netloc
        )
        message = self.render_mail(
            template_prefix, email, {"email": email, "current_site": site, **context}
        )
        send_account_email.delay_on_commit(seal_message(message))
