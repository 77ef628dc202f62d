"""Payment intents, charges, refunds and disputes."""

from typing import Any

from spoke.devservers.stripe import blanks, forms
from spoke.devservers.stripe.cards import NUMBERS
from spoke.devservers.stripe.customers import alive, attach
from spoke.devservers.stripe.errors import DECLINES, Refusal, declined
from spoke.devservers.stripe.routes import lists, route
from spoke.devservers.stripe.store import Object, Store, public

Params = dict[str, Any]


def make_intent(
    store: Store, *, amount: int, currency: str, customer: str, invoice: str | None, why: str = ""
) -> Object:
    """An intent to take an amount in minor units, that waits for a payment method."""
    name = store.new_id("payment_intent")
    made = store.add(
        "payment_intent",
        {
            "id": name,
            "amount": amount,
            "amount_capturable": 0,
            "amount_details": {"tip": {}},
            "amount_received": 0,
            "application": None,
            "application_fee_amount": None,
            "automatic_payment_methods": None,
            "canceled_at": None,
            "cancellation_reason": None,
            "capture_method": "automatic",
            "client_secret": f"{name}_secret_{name[-8:]}",
            "confirmation_method": "automatic",
            "currency": currency,
            "customer": customer,
            "customer_account": None,
            "description": why or None,
            "excluded_payment_method_types": None,
            "last_payment_error": None,
            "managed_payments": None,
            "latest_charge": None,
            "metadata": {},
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": None,
            "payment_method_configuration_details": None,
            "payment_method_options": None,
            "payment_method_types": ["card"],
            "processing": None,
            "receipt_email": None,
            "review": None,
            "setup_future_usage": "off_session" if invoice else None,
            "shipping": None,
            "source": None,
            "statement_descriptor": None,
            "statement_descriptor_suffix": None,
            "status": "requires_payment_method",
            "transfer_data": None,
            "transfer_group": None,
            "_invoice": invoice,
        },
    )
    store.emit("payment_intent.created", made)
    return made


def confirm(store: Store, intent: Object, method: Object, *, off_session: bool) -> str:
    """Pays by a method. Returns the intent's status after; a decline is left on the intent."""
    intent["payment_method"] = method["id"]
    card = NUMBERS[method["_number"]]
    if card.secure and not (card.secure == "once" and method["_authenticated"]):
        if off_session:
            return _decline(store, intent, method, "authentication_required")
        intent["status"] = "requires_action"
        intent["next_action"] = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
        store.emit("payment_intent.requires_action", intent)
        return "requires_action"
    return settle(store, intent)


def settle(store: Store, intent: Object) -> str:
    """The bank's answer, once nothing more is asked of the customer."""
    method = store.get("payment_method", intent["payment_method"])
    customer = store.get("customer", intent["customer"])
    reason = NUMBERS[method["_number"]].charge or (customer["_broken"] and "generic_decline")
    if reason:
        return _decline(store, intent, method, reason)
    charge = _charge(store, intent, method, None)
    intent.update(
        status="succeeded",
        amount_received=intent["amount"],
        latest_charge=charge["id"],
        next_action=None,
        last_payment_error=None,
    )
    method["_authenticated"] = True
    store.emit("charge.succeeded", charge)
    store.emit("payment_intent.succeeded", intent)
    return "succeeded"


def _decline(store: Store, intent: Object, method: Object, reason: str) -> str:
    charge = _charge(store, intent, method, reason)
    refusal = declined(reason, charge=charge["id"])
    intent.update(
        status="requires_payment_method",
        latest_charge=charge["id"],
        next_action=None,
        payment_method=None,
        last_payment_error={**refusal.error, "payment_method": public(method)},
    )
    store.emit("charge.failed", charge)
    store.emit("payment_intent.payment_failed", intent)
    return "requires_payment_method"


def _charge(store: Store, intent: Object, method: Object, reason: str | None) -> Object:
    code, message = DECLINES[reason] if reason else (None, None)
    return store.add(
        "charge",
        {
            "amount": intent["amount"],
            "amount_captured": 0 if reason else intent["amount"],
            "amount_refunded": 0,
            "application": None,
            "application_fee": None,
            "application_fee_amount": None,
            "balance_transaction": None,
            "billing_details": method["billing_details"],
            "calculated_statement_descriptor": "SPOKE",
            "captured": not reason,
            "currency": intent["currency"],
            "customer": intent["customer"],
            "description": intent["description"],
            "disputed": False,
            "failure_balance_transaction": None,
            "failure_code": code,
            "failure_message": message,
            "fraud_details": {},
            "metadata": {},
            "on_behalf_of": None,
            "outcome": {
                **blanks.OUTCOME,
                "network_status": "declined_by_network" if reason else "approved_by_network",
                "reason": reason,
                "risk_level": "normal",
                "seller_message": message or "Payment complete.",
                "type": "issuer_declined" if reason else "authorized",
            },
            "paid": not reason,
            "payment_intent": intent["id"],
            "payment_method": method["id"],
            "payment_method_details": {
                "card": _charged_card(intent, method),
                "type": "card",
            },
            "receipt_email": None,
            "receipt_number": None,
            "receipt_url": None,
            "refunded": False,
            "review": None,
            "shipping": None,
            "source": None,
            "source_transfer": None,
            "statement_descriptor": None,
            "statement_descriptor_suffix": None,
            "status": "failed" if reason else "succeeded",
            "transfer_data": None,
            "transfer_group": None,
        },
    )


def _charged_card(intent: Object, method: Object) -> Object:
    card = method["card"]
    same = (
        *("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding"),
        *("last4", "regulated_status"),
    )
    return {
        **blanks.CHARGED_CARD,
        **{name: card[name] for name in same},
        "network": card["brand"],
        "overcapture": {"maximum_amount_capturable": intent["amount"], "status": "unavailable"},
    }


@route("POST", "/v1/payment_intents/{}/confirm", "payment_method return_url off_session")
def confirm_intent(store: Store, params: Params, name: str) -> Object:
    """What a page does with the client secret. Paid intents pay their invoice."""
    found = store.get("payment_intent", name)
    if found["status"] in ("succeeded", "canceled"):
        raise Refusal(
            f"This PaymentIntent's status is {found['status']}.",
            code="payment_intent_unexpected_state",
        )
    customer = alive(store, found["customer"])
    chosen = params.get("payment_method") or found["payment_method"]
    if not chosen:
        raise Refusal("Missing required param: payment_method.", code="parameter_missing")
    status = confirm(store, found, attach(store, chosen, customer), off_session=False)
    if status == "requires_payment_method":
        error = dict(found["last_payment_error"])
        kind = error.pop("type")
        raise Refusal(error.pop("message"), status=402, kind=kind, **error)
    return found


def complete_payment(store: Store, intent: Object, *, ok: bool) -> str:
    """What the customer's bank said of a payment that waited for 3-D Secure."""
    if ok:
        return settle(store, intent)
    method = store.get("payment_method", intent["payment_method"])
    return _decline(store, intent, method, "authentication_required")


@route("POST", "/v1/payment_intents/{}/cancel", "cancellation_reason")
def cancel_intent(store: Store, params: Params, name: str) -> Object:
    found = store.get("payment_intent", name)
    found.update(status="canceled", canceled_at=store.now(), next_action=None)
    store.emit("payment_intent.canceled", found)
    return found


@route("POST", "/v1/refunds", "charge payment_intent amount reason metadata")
def refund(store: Store, params: Params) -> Object:
    name = (
        params.get("charge")
        or store.get(
            "payment_intent", forms.required(params, "payment_intent"), param="payment_intent"
        )["latest_charge"]
    )
    charge = store.get("charge", name, param="charge")
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = forms.integer(params, "amount", left) or 0
    if not left:
        raise Refusal(f"Charge {name} has already been refunded.", code="charge_already_refunded")
    if not 0 < amount <= left:
        raise Refusal("Refund amount is greater than unrefunded amount.", param="amount")
    made = store.add(
        "refund",
        {
            "amount": amount,
            "balance_transaction": None,
            "charge": charge["id"],
            "currency": charge["currency"],
            "destination_details": {"card": {"type": "refund"}, "type": "card"},
            "metadata": forms.metadata({}, params),
            "payment_intent": charge["payment_intent"],
            "reason": forms.text(params, "reason"),
            "receipt_number": None,
            "source_transfer_reversal": None,
            "status": "succeeded",
            "transfer_reversal": None,
        },
    )
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    store.emit("refund.created", made)
    store.emit("charge.refunded", charge)
    return made


def fail_refund(store: Store, name: str) -> None:
    """The customer's bank does not take a refund: the money is the seller's again."""
    made = store.get("refund", name)
    charge = store.get("charge", made["charge"])
    made.update(status="failed", failure_reason="expired_or_canceled_card")
    charge["amount_refunded"] -= made["amount"]
    charge["refunded"] = False
    store.emit("refund.updated", made)
    store.emit("refund.failed", made)


def dispute(store: Store, charge_id: str) -> Object:
    """The customer's bank takes a charge back."""
    charge = store.get("charge", charge_id)
    charge["disputed"] = True
    made = store.add(
        "dispute",
        {
            "amount": charge["amount"],
            "balance_transactions": [],
            "charge": charge["id"],
            "currency": charge["currency"],
            "enhanced_eligibility_types": [],
            "evidence": dict(blanks.EVIDENCE),
            "evidence_details": {
                "due_by": store.now() + 7 * 86_400,
                "enhanced_eligibility": {},
                "has_evidence": False,
                "past_due": False,
                "submission_count": 0,
            },
            "is_charge_refundable": False,
            "metadata": {},
            "payment_intent": charge["payment_intent"],
            "payment_method_details": {
                "card": {
                    "brand": charge["payment_method_details"]["card"]["brand"],
                    "case_type": "chargeback",
                    "network_reason_code": "10.4",
                },
                "type": "card",
            },
            "reason": "fraudulent",
            "status": "needs_response",
        },
    )
    store.emit("charge.dispute.created", made)
    return made


lists("payment_intent", "/v1/payment_intents", "customer created")
lists("charge", "/v1/charges", "customer payment_intent created")
lists("refund", "/v1/refunds", "charge payment_intent created")
lists("dispute", "/v1/disputes", "charge payment_intent created")
