"""Stripe's webhook: what is signed goes into the inbox, and everything else is forgotten."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import View
from django_ratelimit.core import is_ratelimited
from prometheus_client import Counter

from billing.services import inbox
from billing.stripe import client, webhooks
from billing.tasks import process_event
from spoke.core import tenancy
from spoke.core.enqueue import enqueue_on_commit
from spoke.core.errors import InvalidInput, NotYetAvailable, PayloadTooLarge, RateLimited
from spoke.core.problem import problem_response

# More than the largest event that Stripe sends.
MOST_BYTES = 1_048_576
DELIVERIES = Counter("spoke_stripe_deliveries_total", "Deliveries to the webhook.", ["outcome"])


@method_decorator(csrf_exempt, name="dispatch")
class WebhookView(View):
    """Answers within a second: the work is done by a task. Of a forgery only a counter remains."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest) -> HttpResponse:
        if not client.configured():
            return problem_response(
                NotYetAvailable("Stripe is not set up.", code="billing_not_available")
            )
        if self._refused(request, increment=False):
            DELIVERIES.labels("limited").inc()
            return problem_response(
                RateLimited("Too many forged deliveries.", headers={"Retry-After": "60"})
            )
        if int(request.headers.get("Content-Length") or 0) > MOST_BYTES:
            DELIVERIES.labels("oversized").inc()
            self._refused(request, increment=True)
            return problem_response(PayloadTooLarge("An event is smaller than that."))
        try:
            delivery = webhooks.verified(
                request.read(MOST_BYTES + 1), request.headers.get("Stripe-Signature", "")
            )
        except webhooks.ForgeryError as error:
            DELIVERIES.labels("forged").inc()
            self._refused(request, increment=True)
            return problem_response(InvalidInput(f"Refused: {error}.", code="bad_signature"))
        with tenancy.scoped(tenancy.NOBODY):
            made = inbox.receive(delivery=delivery, now=timezone.now())
            if made is not None:
                enqueue_on_commit(process_event, made)
        DELIVERIES.labels("new" if made else "repeated").inc()
        return HttpResponse(status=200)

    def _refused(self, request: HttpRequest, *, increment: bool) -> bool:
        """Whether an address has sent too many forgeries. What is signed is never counted."""
        return bool(
            is_ratelimited(  # type: ignore[no-untyped-call]
                request,
                group="stripe-forgeries",
                key="ip",
                rate=settings.ANONYMOUS_RATE_LIMIT,
                increment=increment,
            )
        )
