"""Tables of people, organizations and what ties them together."""

from orgs.models.audit import AuditEvent
from orgs.models.invitation import Invitation, InvitationStatus
from orgs.models.member import Membership, OwnershipTransfer, TransferStatus
from orgs.models.organization import Organization, OrganizationStatus, RetiredName
from orgs.models.token import ApiToken, TokenStatus
from orgs.models.user import User, normalize_email

__all__ = [
    "ApiToken",
    "AuditEvent",
    "Invitation",
    "InvitationStatus",
    "Membership",
    "Organization",
    "OrganizationStatus",
    "OwnershipTransfer",
    "RetiredName",
    "TokenStatus",
    "TransferStatus",
    "User",
    "normalize_email",
]
