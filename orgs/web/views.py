"""The page behind the link of an invitation's e-mail."""

from urllib.parse import quote

from cryptography.fernet import InvalidToken
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from orgs.models import User
from orgs.services import invitations as service
from orgs.services.members import AlreadyMember
from spoke.core.errors import DomainError
from spoke.core.sealing import seal, unseal


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Shows what one is invited to, and accepts it as the signed-in person."""
    now = timezone.now()
    try:
        offer = service.find_offer(token=token, now=now)
        if request.method == "POST" and isinstance(request.user, User):
            service.accept_invitation(token=token, user=request.user, now=now)
            return render(request, "orgs/invitations/accepted.html", {"offer": offer})
    except AlreadyMember as error:
        if isinstance(request.user, User):
            service.dismiss_invitation(token=token, user=request.user, now=now)
        return _refused(request, error)
    except DomainError as error:
        return _refused(request, error)
    # Sealed, since sign-in keeps the way back in the session, which is stored.
    back = quote(reverse("orgs_invitation_back", args=[seal(token)]))
    return render(request, "orgs/invitations/offer.html", {"offer": offer, "back": back})


@never_cache
@require_safe
def back(request: HttpRequest, sealed: str) -> HttpResponse:
    """Leads from sign-in back to the invitation."""
    try:
        token = unseal(sealed)
    except InvalidToken as exc:
        raise Http404 from exc
    return redirect("orgs_invitation", token=token)


def _refused(request: HttpRequest, error: DomainError) -> HttpResponse:
    return render(request, "orgs/invitations/refused.html", {"error": error}, status=error.status)
