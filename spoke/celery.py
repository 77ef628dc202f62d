"""The Celery application and the whole timetable of periodic work, in one visible place."""

import os

from celery import Celery
from celery.schedules import crontab

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spoke.settings")

app = Celery("spoke")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# Every entry only finds what is due and fans out; each task is safe to run twice. With several beats
# each entry is sent once for its time (spoke.beat).
TIMETABLE = {
    "flush-api-requests": {"task": "quotas.tasks.flush_api_requests", "schedule": 10.0},
    "turn-usage-periods": {
        "task": "quotas.tasks.turn_due_periods",
        "schedule": crontab(minute="*/5"),
    },
    "roll-up-usage-events": {"task": "quotas.tasks.roll_up_events", "schedule": 30.0},
    "maintain-event-storage": {
        "task": "quotas.tasks.maintain_event_storage",
        "schedule": crontab(hour="2", minute="20"),
    },
    "expire-holds": {"task": "quotas.tasks.expire_holds", "schedule": crontab()},
    "prune-holds": {"task": "quotas.tasks.prune_holds", "schedule": crontab(hour="2", minute="55")},
    "prune-gauge-changes": {
        "task": "quotas.tasks.prune_gauge_changes",
        "schedule": crontab(hour="2", minute="50"),
    },
    "evaluate-alerts": {"task": "quotas.tasks.evaluate_alerts", "schedule": 60.0},
    "evaluate-all-alerts": {
        "task": "quotas.tasks.evaluate_all_alerts",
        "schedule": crontab(hour="4", minute="40"),
    },
    "evaluate-budgets": {
        "task": "quotas.tasks.evaluate_budgets",
        "schedule": crontab(minute="*/5"),
    },
    "resend-alerts": {"task": "quotas.tasks.resend_alerts", "schedule": crontab(minute="*/5")},
    "turn-subscriptions": {
        "task": "billing.tasks.turn_due_subscriptions",
        "schedule": crontab(minute="*/5"),
    },
    "draft-invoices": {
        "task": "billing.tasks.draft_due_invoices",
        "schedule": crontab(minute="*/5"),
    },
    "finalize-invoices": {
        "task": "billing.tasks.finalize_due_invoices",
        "schedule": crontab(minute="*/5"),
    },
    "process-stripe-events": {"task": "billing.tasks.process_due_events", "schedule": 60.0},
    "sweep-stripe-events": {
        "task": "billing.tasks.sweep_events",
        "schedule": crontab(minute="25"),
    },
    "prune-stripe-events": {
        "task": "billing.tasks.prune_events",
        "schedule": crontab(hour="3", minute="20"),
    },
    "push-invoices": {
        "task": "billing.tasks.push_due_invoices",
        "schedule": crontab(minute="*/5"),
    },
    "push-credit-notes": {
        "task": "billing.tasks.push_due_notes",
        "schedule": crontab(minute="*/5"),
    },
    "push-billing-details": {
        "task": "billing.tasks.push_due_details",
        "schedule": crontab(minute="*/5"),
    },
    "reconcile-subscriptions": {
        "task": "billing.tasks.reconcile_subscriptions",
        "schedule": crontab(minute="*/10"),
    },
    "compare-with-stripe": {
        "task": "billing.tasks.compare_with_stripe",
        "schedule": crontab(hour="5", minute="10"),
    },
    "chase-overdue-payments": {
        "task": "billing.tasks.chase_overdue",
        "schedule": crontab(minute="*/5"),
    },
    "retry-open-invoices": {
        "task": "billing.tasks.retry_due_invoices",
        "schedule": crontab(minute="*/5"),
    },
    "warn-of-expiring-cards": {
        "task": "billing.tasks.warn_of_expiry",
        "schedule": crontab(hour="7", minute="45"),
    },
    "expire-invitations": {
        "task": "orgs.tasks.expire_invitations",
        "schedule": crontab(minute="*/15"),
    },
    "purge-closed-organizations": {
        "task": "orgs.tasks.purge_closed_organizations",
        "schedule": crontab(hour="3", minute="10"),
    },
    "prune-idempotency-records": {
        "task": "spoke.core.tasks.prune_idempotency_records",
        "schedule": crontab(minute="40"),
    },
    "reconcile-usage": {
        "task": "registry.tasks.reconcile_usage",
        "schedule": crontab(hour="3", minute="40"),
    },
    "rescue-compile-jobs": {"task": "registry.tasks.rescue_compile_jobs", "schedule": 30.0},
    "sweep-artifacts": {
        "task": "registry.tasks.sweep_artifacts",
        "schedule": crontab(hour="4", minute="20"),
    },
    "sweep-orphan-files": {
        "task": "registry.tasks.sweep_orphan_files",
        "schedule": crontab(hour="4", minute="10"),
    },
}
app.conf.beat_schedule = TIMETABLE
