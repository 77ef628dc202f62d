"""What Stripe says of what there is nothing to say of: members that Spoke sets nothing in.

As of API version 2026-05-27.dahlia; tests/devservers/stripe/test_shapes.py holds them against the SDK.
"""

from typing import Any

Blank = dict[str, Any]

ADDRESS: Blank = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
_REQUIREMENTS: Blank = {
    **dict.fromkeys(("current_deadline", "disabled_reason")),
    **{
        name: []
        for name in (
            *("alternatives", "currently_due", "errors", "eventually_due"),
            *("past_due", "pending_verification"),
        )
    },
}
ACCOUNT: Blank = {
    "business_profile": {
        **dict.fromkeys(
            (
                *("annual_revenue", "estimated_worker_count", "mcc", "name"),
                *("minority_owned_business_designation", "product_description"),
                *("support_address", "support_email", "support_phone", "support_url", "url"),
            )
        )
    },
    "capabilities": {"card_payments": "active", "transfers": "active"},
    "controller": {"type": "account"},
    "external_accounts": {
        "object": "list",
        "data": [],
        "has_more": False,
        "url": "/v1/account/external_accounts",
    },
    "future_requirements": _REQUIREMENTS,
    "requirements": _REQUIREMENTS,
    "settings": {
        "bacs_debit_payments": {"display_name": None, "service_user_number": None},
        "branding": dict.fromkeys(("icon", "logo", "primary_color", "secondary_color")),
        "card_issuing": {"tos_acceptance": {"date": None, "ip": None}},
        "card_payments": {
            "decline_on": {"avs_failure": False, "cvc_failure": False},
            **dict.fromkeys(
                (
                    "statement_descriptor_prefix",
                    "statement_descriptor_prefix_kana",
                    "statement_descriptor_prefix_kanji",
                )
            ),
        },
        "dashboard": {"display_name": None, "timezone": "Etc/UTC"},
        "invoices": {"default_account_tax_ids": None, "hosted_payment_method_save": "offer"},
        "payments": dict.fromkeys(
            (
                *("statement_descriptor", "statement_descriptor_kana"),
                *("statement_descriptor_kanji", "statement_descriptor_prefix_kana"),
                "statement_descriptor_prefix_kanji",
            )
        ),
        "payouts": {
            "debit_negative_balances": True,
            "schedule": {"delay_days": 2, "interval": "daily"},
            "statement_descriptor": None,
        },
        "sepa_debit_payments": {},
    },
    "tos_acceptance": {"date": None, "ip": None, "user_agent": None},
}
OUTCOME: Blank = dict.fromkeys(("advice_code", "network_advice_code", "network_decline_code"))
CHARGED_CARD: Blank = {
    **dict.fromkeys(
        (
            *("amount_authorized", "authorization_code", "installments", "mandate"),
            *("network_token", "network_transaction_id", "three_d_secure", "wallet"),
        )
    ),
    "extended_authorization": {"status": "disabled"},
    "incremental_authorization": {"status": "unavailable"},
    "multicapture": {"status": "unavailable"},
}
CHECKOUT: Blank = dict.fromkeys(
    (
        *("adaptive_pricing", "after_expiration", "allow_promotion_codes", "amount_subtotal"),
        *("amount_total", "billing_address_collection", "collected_information", "consent"),
        *("consent_collection", "currency", "currency_conversion", "customer_account"),
        *("customer_creation", "customer_details", "customer_email", "discounts"),
        *("integration_identifier", "invoice", "invoice_creation", "locale", "managed_payments"),
        *("origin_context", "payment_intent", "payment_link", "payment_method_collection"),
        *("payment_method_configuration_details", "permissions", "phone_number_collection"),
        *("recovered_from", "saved_payment_method_options", "setup_intent"),
        *("shipping_address_collection", "shipping_cost", "submit_type", "subscription"),
        *("total_details", "ui_mode", "wallet_options"),
    )
)
CUSTOM_TEXT: Blank = dict.fromkeys(
    ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")
)
EVIDENCE: Blank = {
    **dict.fromkeys(
        (
            *("access_activity_log", "billing_address", "cancellation_policy"),
            *("cancellation_policy_disclosure", "cancellation_rebuttal"),
            *("customer_communication", "customer_email_address", "customer_name"),
            *("customer_purchase_ip", "customer_signature", "duplicate_charge_documentation"),
            *("duplicate_charge_explanation", "duplicate_charge_id", "product_description"),
            *("receipt", "refund_policy", "refund_policy_disclosure"),
            *("refund_refusal_explanation", "service_date", "service_documentation"),
            *("shipping_address", "shipping_carrier", "shipping_date"),
            *("shipping_documentation", "shipping_tracking_number", "uncategorized_file"),
            "uncategorized_text",
        )
    ),
    "enhanced_evidence": {},
}
