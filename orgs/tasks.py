"""Background work of organizations. Each task takes ids, and is safe to run twice."""

from typing import Any

import structlog
from celery import shared_task
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from orgs import emails
from orgs.services import invitations, organizations
from spoke.core import tenancy
from spoke.core.sealing import unseal

logger = structlog.get_logger(__name__)


RETRIED: dict[str, Any] = {
    # The mail server (smtplib's errors are OSErrors) or the database is away.
    "autoretry_for": (OSError, OperationalError, InterfaceError),
    "retry_backoff_max": 3600,
    "retry_jitter": True,
}


@shared_task(**RETRIED, retry_backoff=30, max_retries=8)
def send_invitation_email(org_id: int, invitation_id: int, sealed_token: str) -> None:
    """Sends an invitation's link, unless it is void by now. The token travels sealed."""
    sent = emails.send_invitation(
        org_id=org_id, invitation_id=invitation_id, token=unseal(sealed_token), now=timezone.now()
    )
    logger.info("invitation.email", org_id=org_id, invitation_id=invitation_id, sent=sent)


@shared_task(**RETRIED, retry_backoff=5, max_retries=6)
def send_account_email(sealed_message: str) -> None:
    """Sends a message of sign-up, sign-in or recovery; it holds a code, so it travels sealed."""
    emails.send_sealed(sealed_message)


@shared_task
def expire_invitations() -> None:
    """Finds the organizations with overdue invitations and starts one task for each."""
    for org_id in invitations.organizations_with_due_invitations(now=timezone.now()):
        expire_invitations_of.delay(org_id)


@shared_task
def expire_invitations_of(org_id: int) -> int:
    """Marks an organization's overdue invitations as expired, and says how many.

    A sweep is bounded; what is left over is found by the next run of `expire_invitations`.
    """
    with tenancy.organization(org_id):
        return invitations.expire_due_invitations(org_id=org_id, now=timezone.now())


@shared_task
def purge_closed_organizations() -> None:
    """Finds the closed organizations whose time is up and starts one task for each."""
    for org_id in organizations.organizations_to_purge(now=timezone.now()):
        purge_organization.delay(org_id)


@shared_task
def purge_organization(org_id: int) -> bool:
    """Deletes everything of one closed organization; says whether there was anything to do."""
    return organizations.purge_organization(org_id=org_id, now=timezone.now())
