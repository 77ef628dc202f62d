"""The table of who may call what: every route of the API, with the roles that it is open to.

Everybody may read and end their own membership besides; that is tested with the endpoint itself.
"""

READERS = "owner admin developer viewer staff"
BUILDERS = "owner admin developer"
TEAM = "owner admin staff"
OWNERS = "owner staff"
PAYER = "owner"

_ORG = {
    "/orgs/<org:org>": {"GET": READERS, "PUT": TEAM, "PATCH": TEAM, "DELETE": OWNERS},
    "/orgs/<org:org>/reopen": {"POST": OWNERS},
    "/orgs/<org:org>/members": {"GET": TEAM, "POST": TEAM},
    "/orgs/<org:org>/members/bulk": {"POST": TEAM},
    "/orgs/<org:org>/members/<id:user_id>": {
        "GET": TEAM,
        "PUT": TEAM,
        "PATCH": TEAM,
        "DELETE": TEAM,
    },
    "/orgs/<org:org>/invitations": {"GET": TEAM, "POST": TEAM},
    "/orgs/<org:org>/invitations/<id:invitation_id>": {"DELETE": TEAM},
    "/orgs/<org:org>/invitations/<id:invitation_id>/resend": {"POST": TEAM},
    "/orgs/<org:org>/tokens": {"GET": TEAM, "POST": TEAM},
    "/orgs/<org:org>/tokens/<id:token_id>": {"DELETE": TEAM},
    # Whoever is offered it may decline; without an offer that is a 404.
    "/orgs/<org:org>/transfer": {"GET": TEAM, "POST": OWNERS, "DELETE": READERS},
    "/orgs/<org:org>/transfer/accept": {"POST": READERS},
    "/orgs/<org:org>/audit-log": {"GET": TEAM},
    "/orgs/<org:org>/audit-log/export": {"GET": TEAM},
    "/orgs/<org:org>/plans": {"GET": READERS},
    "/orgs/<org:org>/quotas": {"GET": READERS, "PUT": "staff", "PATCH": "staff"},
    "/orgs/<org:org>/quotas/check": {"POST": READERS},
    "/orgs/<org:org>/quotas/reservations": {"GET": READERS, "POST": BUILDERS},
    "/orgs/<org:org>/quotas/reservations/<id:hold_id>": {"GET": READERS},
    "/orgs/<org:org>/quotas/reservations/<id:hold_id>/commit": {"POST": BUILDERS},
    "/orgs/<org:org>/quotas/reservations/<id:hold_id>/release": {"POST": BUILDERS},
    "/orgs/<org:org>/usage": {"GET": READERS},
    "/orgs/<org:org>/usage/history": {"GET": READERS},
    "/orgs/<org:org>/usage/events": {"POST": BUILDERS},
    "/orgs/<org:org>/usage/meters": {"GET": READERS},
    "/orgs/<org:org>/alerts": {"GET": TEAM, "PUT": TEAM},
    "/orgs/<org:org>/modules": {"GET": READERS, "POST": BUILDERS},
    "/orgs/<org:org>/modules/<str:name>": {
        "GET": READERS,
        "PUT": BUILDERS,
        "PATCH": BUILDERS,
        "DELETE": BUILDERS,
    },
    "/orgs/<org:org>/modules/<str:name>/versions": {"GET": READERS, "POST": BUILDERS},
    "/orgs/<org:org>/modules/<str:name>/versions/<str:version>": {
        "GET": READERS,
        "DELETE": BUILDERS,
    },
    "/orgs/<org:org>/modules/<str:name>/versions/<str:version>/files/<path:path>": {"GET": READERS},
    "/orgs/<org:org>/modules/<str:name>/versions/<str:version>/compile": {
        "GET": READERS,
        "POST": BUILDERS,
    },
    "/orgs/<org:org>/modules/<str:name>/versions/<str:version>/compile/<id:job_id>": {
        "GET": READERS
    },
    "/orgs/<org:org>/modules/<str:name>/versions/<str:version>/compile/<id:job_id>/cancel": {
        "POST": BUILDERS
    },
    "/orgs/<org:org>/modules/<str:name>/versions/<str:version>/compile/<id:job_id>/artifact": {
        "GET": READERS
    },
    "/orgs/<org:org>/modules/<str:name>/versions/<str:version>/archive": {"GET": READERS},
    "/orgs/<org:org>/modules/<str:name>/versions/<str:version>/yank": {"POST": BUILDERS},
    "/orgs/<org:org>/modules/<str:name>/versions/<str:version>/unyank": {"POST": BUILDERS},
    "/orgs/<org:org>/subscription": {
        "GET": TEAM,
        "POST": PAYER,
        "PUT": PAYER,
        "PATCH": PAYER,
    },
    "/orgs/<org:org>/subscription/cancel": {"POST": PAYER},
    "/orgs/<org:org>/subscription/reactivate": {"POST": PAYER},
    "/orgs/<org:org>/subscription/preview": {"POST": PAYER},
    "/orgs/<org:org>/invoices": {"GET": TEAM},
    "/orgs/<org:org>/invoices/upcoming": {"GET": TEAM},
    "/orgs/<org:org>/invoices/generate": {"POST": "staff"},
    "/orgs/<org:org>/invoices/<id:invoice_id>": {"GET": TEAM},
    "/orgs/<org:org>/invoices/<id:invoice_id>/pdf": {"GET": TEAM},
    "/orgs/<org:org>/invoices/<id:invoice_id>/html": {"GET": TEAM},
    "/orgs/<org:org>/invoices/<id:invoice_id>/credit-notes": {"GET": TEAM, "POST": "staff"},
    "/orgs/<org:org>/invoices/<id:invoice_id>/credit-notes/<id:note_id>/pdf": {"GET": TEAM},
    "/orgs/<org:org>/credits": {"GET": TEAM, "POST": "staff"},
    "/orgs/<org:org>/billing/details": {"GET": TEAM, "PUT": PAYER, "PATCH": PAYER},
    "/orgs/<org:org>/billing/balance": {"GET": TEAM},
    "/orgs/<org:org>/payment-methods": {"GET": TEAM, "POST": PAYER},
    "/orgs/<org:org>/payment-methods/setup-intent": {"POST": PAYER},
    "/orgs/<org:org>/payment-methods/<slug:payment_method>/default": {"PUT": PAYER},
    "/orgs/<org:org>/payment-methods/<slug:payment_method>": {"DELETE": PAYER},
    "/orgs/<org:org>/billing/portal": {"POST": PAYER},
    "/orgs/<org:org>/billing/checkout": {"POST": PAYER},
    "/orgs/<org:org>/budget": {"GET": TEAM, "PUT": PAYER},
}


def _flat(table: dict[str, dict[str, str]]) -> dict[str, str]:
    return {
        f"{method} {pattern}": roles
        for pattern, methods in table.items()
        for method, roles in methods.items()
    }


ORG_ROUTES = _flat(_ORG)
# Open to any signed-in person, who sees and changes only what is theirs.
PERSON_ROUTES = {
    "GET /orgs",
    "POST /orgs",
    "GET /me",
    "PUT /me",
    "PATCH /me",
    "GET /me/tokens",
    "POST /me/tokens",
    "DELETE /me/tokens/<id:token_id>",
    "POST /invitations/<invitation:token>/accept",
    # Open to service tokens too.
    "GET /modules/<str:org_slug>/<str:name>",
    "GET /modules/<str:org_slug>/<str:name>/versions",
    "GET /modules/<str:org_slug>/<str:name>/versions/<str:version>",
    "GET /modules/<str:org_slug>/<str:name>/versions/<str:version>/archive",
    "GET /modules/<str:org_slug>/<str:name>/versions/<str:version>/files/<path:path>",
}
# Open to everybody; limited by address or cacheable.
PUBLIC_ROUTES = {
    "GET /invitations/<invitation:token>",
    "GET /plans",
    "GET /plans/<slug:code>",
}
