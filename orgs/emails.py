"""E-mails, each in text and HTML; those of organizations from the templates in templates/orgs/."""

import json
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.template.loader import render_to_string

from orgs.models import Invitation, Organization, OrganizationStatus
from orgs.services.invitations import accept_url
from orgs.services.tokens import digest_of
from spoke.core import tenancy
from spoke.core.sealing import seal, unseal


def send_invitation(*, org_id: int, invitation_id: int, token: str, now: datetime) -> bool:
    """Sends the invitation unless the token is void by now; says whether it did.

    Nothing is sent inside a transaction. Raises OSError (smtplib's errors are such) when the mail
    server refuses or is away.
    """
    with tenancy.organization(org_id):
        invitation = (
            Invitation.objects.for_org(org_id)
            .in_status("pending", now)
            .filter(pk=invitation_id, digest=digest_of(token))
            .first()
        )
        org = Organization.objects.filter(pk=org_id, status=OrganizationStatus.ACTIVE).first()
    if invitation is None or org is None:
        return False
    inviter = invitation.invited_by.get_full_name() if invitation.invited_by else ""
    context = {
        "organization": org.display_name,
        "role": invitation.role,
        "inviter": inviter,
        "email": invitation.email,
        "expires_at": invitation.expires_at,
        "accept_url": accept_url(token),
    }
    subject = f"You are invited to join {org.display_name} on {settings.SITE_NAME}"
    send_rendered("orgs/emails/invitation", to=invitation.email, subject=subject, context=context)
    return True


def seal_message(message: EmailMessage) -> str:
    """A plain text message on its way to a task."""
    parts = {"subject": message.subject, "body": message.body, "to": message.to}
    return seal(json.dumps({**parts, "from_email": message.from_email}, default=str))


def send_sealed(sealed_message: str) -> None:
    """Sends what `seal_message` was given. Raises OSError as `send_invitation` does."""
    EmailMessage(**json.loads(unseal(sealed_message))).send()


def send_rendered(template: str, *, to: str, subject: str, context: dict[str, Any]) -> None:
    """Sends one message in text and HTML, of `<template>.txt` and `<template>.html`.

    The templates know `site_name` beside the context.
    """
    context = {"site_name": settings.SITE_NAME, **context}
    message = EmailMultiAlternatives(
        subject=" ".join(subject.split()),  # a line break would end the header
        body=render_to_string(f"{template}.txt", context),
        to=[to],
    )
    message.attach_alternative(render_to_string(f"{template}.html", context), "text/html")
    message.send()
