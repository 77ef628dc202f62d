"""E-mails of quotas, each in text and HTML from the templates in templates/quotas/."""

from datetime import datetime
from smtplib import SMTPRecipientsRefused
from typing import Any

import structlog
from django.template.defaultfilters import filesizeformat

from orgs.emails import send_rendered
from quotas.models.alert import OVERAGE
from quotas.resources import Resource
from quotas.services import alert_mail
from quotas.services.alert_mail import Claimed
from spoke.core import tenancy

logger = structlog.get_logger(__name__)
# What an organization "has reached 80% of".
WHAT = {
    Resource.MODULES.value: "module limit",
    Resource.VERSIONS.value: "limit of versions of a module",
    Resource.STORAGE.value: "storage limit",
    Resource.COMPILE_JOBS.value: "compile job limit of this period",
    Resource.API_REQUESTS.value: "API requests included in this period",
    OVERAGE: "overage budget of this period",
}


def send_alert(*, org_id: int, alert_id: int, now: datetime) -> int:
    """Everybody who wants it has the alert's message afterwards; returns how many got it now.

    Nothing is sent inside a transaction, nor while another sends the same. One failure does not hold up
    the others; the first is raised in the end, and then the sweep sends the rest.
    """
    with tenancy.organization(org_id):
        claimed = alert_mail.claim_alert(org_id=org_id, alert_id=alert_id, now=now)
    if claimed is None:
        return 0
    sent, failure = 0, None
    for user_id, address in claimed.recipients:
        try:
            sent += _deliver(claimed, address)
        except Exception as exc:  # noqa: BLE001 - providers raise errors of their own
            logger.warning("alert.not_sent", alert_id=alert_id, user_id=user_id, cause=repr(exc))
            failure = failure or exc
            continue
        with tenancy.organization(org_id):
            alert_mail.note_told(org_id=org_id, alert_id=alert_id, user_id=user_id)
    if failure is not None:
        raise failure
    with tenancy.organization(org_id):
        alert_mail.settle_alert(org_id=org_id, alert_id=alert_id, now=now)
    return sent


def _deliver(claimed: Claimed, address: str) -> bool:
    """Sends to one address; False where the server refuses it for good, which no repeat would change."""
    subject, context = _content(claimed)
    try:
        send_rendered("quotas/emails/alert", to=address, subject=subject, context=context)
    except SMTPRecipientsRefused as exc:
        if all(code >= 500 for code, _ in exc.recipients.values()):
            logger.warning("alert.address_refused", alert_id=claimed.alert.pk)
            return False
        raise
    return True


def _content(claimed: Claimed) -> tuple[str, dict[str, Any]]:
    alert, org = claimed.alert, claimed.organization
    what = WHAT[alert.resource]
    subject = f"{org.display_name} has reached {alert.threshold}% of its {what}"
    # What a budget caps is money, of which an alert knows no currency.
    counted = alert.resource != OVERAGE
    return subject, {
        "organization": org.display_name,
        "name": org.name,
        "threshold": alert.threshold,
        "what": what,
        "counted": counted,
        "used": _amount(alert.resource, alert.used),
        "limit": _amount(alert.resource, alert.limit),
        "fired_at": alert.fired_at,
        "period_end": alert.period.end,
    }


def _amount(resource: str, number: int) -> str:
    if resource == Resource.STORAGE:
        return str(filesizeformat(number)).replace("\xa0", " ")
    return f"{number:,}"
