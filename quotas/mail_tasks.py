"""Mail of quotas. Apart from the other tasks, which import the services that start these."""

import structlog
from celery import shared_task
from django.utils import timezone

from quotas import emails

logger = structlog.get_logger(__name__)


@shared_task
def send_alert(org_id: int, alert_id: int) -> int:
    """Sends an alert's message to those who have not had it; returns to how many.

    What fails is sent by the next sweep (`quotas.tasks.resend_alerts`), so nothing is retried here.
    """
    sent = emails.send_alert(org_id=org_id, alert_id=alert_id, now=timezone.now())
    logger.info("alert.email", org_id=org_id, alert_id=alert_id, sent=sent)
    return sent
