"""`manage.py djstripe_sync_models`: dj-stripe's, in whose place it stands."""

from billing.stripe.mirror import SyncCommand


class Command(SyncCommand):
    """Fetches everything at Stripe, or the models named, into dj-stripe's tables."""
