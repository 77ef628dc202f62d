"""The admin of people, organizations and what ties them together."""

from typing import Any

from allauth.account import admin as _of_account  # noqa: F401 - registers what is replaced below
from allauth.account.models import EmailAddress
from allauth.mfa import admin as _of_mfa  # noqa: F401 - so does this
from allauth.mfa.models import Authenticator
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from orgs import models
from orgs.context import Actor
from orgs.models import Organization, User
from orgs.services import organizations
from orgs.services.people import touch_organizations_of
from orgs.services.tokens import revoke_personal_token, revoke_service_token
from spoke.core.admin import ModelAdmin, ReadOnly, TabularInline, change_each
from spoke.core.admin_confirm import Question, confirmed


def actor_of(request: HttpRequest) -> Actor:
    """The member of staff at work, as the audit log keeps them."""
    user: Any = request.user
    return Actor("staff", user.pk, user.email, user)


def suspends(org: Organization) -> str:
    """What suspending an organization does."""
    return (
        f"{_named(org)}: from the next request on they read and do not write. That can be lifted."
    )


def closes(org: Organization) -> str:
    """What closing an organization does, and until when it can be undone."""
    tokens = models.ApiToken.objects.filter(org=org, revoked_at__isnull=True).count()
    until = timezone.now() + organizations.PURGE_DELAY
    return (
        f"{_named(org)}, {org.plan_tier} plan: nothing works in it "
        f"any more, its subscription ends, its pending invitations and {tokens} service tokens are "
        f"revoked for good. Until {until:%Y-%m-%d} it can be reopened; then everything in it is deleted."
    )


def revokes(token: models.ApiToken) -> str:
    """What revoking a token does, and whose it is."""
    used = (
        f"last used {token.last_used_at:%Y-%m-%d %H:%M} UTC" if token.last_used_at else "never used"
    )
    return f"{token} of {token.user or token.org}, {used}: it stops working at once, for good."


def verifies(address: Any) -> str:
    """What it means that an address is verified."""
    return (
        f"{address.email} of {address.user}: with it they sign in, reset their password and accept "
        "invitations that were sent to it."
    )


def _named(org: Organization) -> str:
    return (
        f"{org.display_name} ({org.name}) of {org.owner.email}, members: {org.memberships.count()}"
    )


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]
    """People. Deactivate instead of deleting: their tokens and sessions stop with the next request."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "name", "is_active", "is_staff", "date_joined", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser")
    search_fields = ("email", "name")
    ordering = ("email",)
    readonly_fields = ("date_joined", "last_login")
    RIGHTS = ("is_staff", "is_superuser", "groups")
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("Rights", {"fields": ("is_active", *RIGHTS)}),
        ("Dates", {"fields": ("date_joined", "last_login")}),
    )
    add_fieldsets: Any = (
        (None, {"classes": ("wide",), "fields": ("email", "name", "password1", "password2")}),
    )
    # Two lists beside each other are wider than the page.
    filter_horizontal = ()
    autocomplete_fields = ("groups",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        # Whoever may change people could else give themselves every right.
        names = super().get_readonly_fields(request, obj)
        return names if request.user.is_superuser else [*names, *self.RIGHTS]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Nor by the password of a colleague who has more of them.
        others = obj is not None and (obj.is_staff or obj.is_superuser) and obj != request.user
        allowed: bool = super().has_change_permission(request, obj)
        return allowed and (request.user.is_superuser or not others)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        touch_organizations_of(user=obj)


admin.site.unregister([Group, EmailAddress, Authenticator])


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]
    """What its members, of staff, may see and do here."""


@admin.register(EmailAddress)
class EmailAddressAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    """Addresses of people, and whether they proved to read them. They are changed by themselves."""

    list_display = ("email", "user", "primary", "verified")
    list_filter = ("primary", "verified")
    list_select_related = ("user",)
    search_fields = ("email", "user__email", "user__name")
    ordering = ("email",)
    actions = ("verify",)

    @admin.action(description="Mark as verified", permissions=["act"])
    @confirmed(Question("Mark as verified?", "Yes, I know them"), verifies)
    def verify(self, request: HttpRequest, rows: list[Any]) -> None:
        """For somebody whom no code reaches, and whom staff know."""
        for address in (row for row in rows if not row.verified):
            if address.set_verified():
                self.log_change(request, address, "Marked as verified.")
                messages.success(request, f"{address.email}: done.")
            else:
                messages.error(request, f"{address.email}: somebody else has proved to read it.")

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Whoever may change addresses in the admin may say that they are verified."""
        return request.user.has_perm("account.change_emailaddress")


@admin.register(Authenticator)
class AuthenticatorAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    """Second factors, without their secrets. Delete those of a person who has lost them."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_filter = ("type",)
    list_select_related = ("user",)
    search_fields = ("user__email", "user__name")
    ordering = ("-id",)
    fields = list_display

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # A colleague's would open the way to what they may do.
        allowed = super(ReadOnly, self).has_delete_permission(request, obj)
        staff = obj is not None and obj.user.is_staff
        return bool(allowed and (request.user.is_superuser or not staff))


class MembershipInline(TabularInline):
    model = models.Membership
    fields = ("user", "role", "created_at")
    ordering = ("created_at",)


@admin.register(Organization)
class OrganizationAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    """Tenants. Their status changes by the actions of the list."""

    list_display = ("name", "display_name", "owner", "plan_tier", "status", "created_at")
    list_filter = ("status", "plan_tier", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "display_name", "owner__email", "=id")
    ordering = ("-id",)
    inlines = (MembershipInline,)
    actions = ("suspend", "reactivate", "close", "reopen")

    @admin.action(description="Suspend: reading works, writing does not", permissions=["act"])
    @confirmed(Question("Suspend?", "Yes, suspend", "Why: its members are told"), suspends)
    def suspend(self, request: HttpRequest, rows: list[Organization], reason: str) -> None:
        actor, now = actor_of(request), timezone.now()
        change_each(
            request,
            rows,
            lambda org: organizations.suspend_organization(
                org=org, actor=actor, reason=reason, now=now
            ),
        )

    @admin.action(description="Lift the suspension", permissions=["act"])
    def reactivate(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        actor, now = actor_of(request), timezone.now()
        change_each(
            request,
            queryset,
            lambda org: organizations.reactivate_organization(org=org, actor=actor, now=now),
        )

    @admin.action(description="Close: purged after 30 days", permissions=["act"])
    @confirmed(Question("Close?", "Yes, close", "Why"), closes)
    def close(self, request: HttpRequest, rows: list[Organization], reason: str) -> None:
        actor, now = actor_of(request), timezone.now()
        change_each(
            request,
            rows,
            lambda org: organizations.close_organization(
                org=org, actor=actor, reason=reason, now=now
            ),
        )

    @admin.action(description="Reopen what is closed", permissions=["act"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        actor, now = actor_of(request), timezone.now()
        change_each(
            request,
            queryset,
            lambda org: organizations.reopen_organization(org=org, actor=actor, now=now),
        )

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Whoever may change organizations in the admin may use the actions."""
        return request.user.has_perm("orgs.change_organization")


@admin.register(models.Membership)
class MembershipAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("org", "user", "role", "created_at")
    list_filter = ("role",)
    list_select_related = ("org", "user")
    search_fields = ("org__name", "user__email")


@admin.register(models.OwnershipTransfer)
class OwnershipTransferAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("org", "from_user", "to_user", "status", "created_at", "expires_at")
    list_filter = ("status",)
    list_select_related = ("org", "from_user", "to_user")
    search_fields = ("org__name", "from_user__email", "to_user__email")


@admin.register(models.Invitation)
class InvitationAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("email", "org", "role", "status", "invited_by", "created_at", "expires_at")
    list_filter = ("status", "role")
    list_select_related = ("org", "invited_by")
    search_fields = ("email", "org__name")
    exclude = ("digest",)


@admin.register(models.ApiToken)
class ApiTokenAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("prefix", "name", "user", "org", "role", "last_used_at", "revoked_at")
    list_filter = (("org", admin.EmptyFieldListFilter), ("revoked_at", admin.EmptyFieldListFilter))
    list_select_related = ("org", "user")
    search_fields = ("prefix", "name", "user__email", "org__name")
    exclude = ("digest",)
    actions = ("revoke",)

    @admin.action(description="Revoke at once", permissions=["act"])
    @confirmed(Question("Revoke?", "Yes, revoke"), revokes)
    def revoke(self, request: HttpRequest, rows: list[models.ApiToken]) -> None:
        now = timezone.now()
        for token in rows:
            if token.org_id is not None:
                revoke_service_token(
                    org_id=token.org_id, actor=actor_of(request), token_id=token.pk, now=now
                )
            elif token.user is not None:
                revoke_personal_token(user=token.user, token_id=token.pk, now=now)
        messages.success(request, "Revoked.")

    def has_act_permission(self, request: HttpRequest) -> bool:
        """Whoever may change tokens in the admin may revoke them."""
        return request.user.has_perm("orgs.change_apitoken")


@admin.register(models.AuditEvent)
class AuditEventAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("at", "org", "actor_label", "action", "target_type", "target_id")
    list_filter = ("action", "actor_kind", "at")
    list_select_related = ("org",)
    search_fields = ("org__name", "actor_label", "action", "target_id", "request_id")
    ordering = ("-id",)
    show_full_result_count = False


@admin.register(models.RetiredName)
class RetiredNameAdmin(ModelAdmin):
    """Names of purged organizations. Deleted here, a name can be taken again."""

    list_display = ("name", "retired_at")
    search_fields = ("name",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
