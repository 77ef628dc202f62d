"""Plans are data, versioned and never edited; an assignment says which one an organization has."""

from decimal import Decimal

from django.db import models
from django.db.models import F, Q

from quotas.charges import ChargeDefinition
from quotas.rating import MODELS, TIERED, Tier
from quotas.resources import Resource

RESOURCE_CHOICES = [(resource.value, resource.value) for resource in Resource]


class PlanQuerySet(models.QuerySet["Plan"]):
    def current(self) -> "PlanQuerySet":
        """The newest version of each plan."""
        return self.filter(superseded_at__isnull=True)


class Plan(models.Model):
    """One version of a plan. Its limits, prices and charges never change once published."""

    code = models.CharField(max_length=32)
    version = models.PositiveIntegerField()
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=500, blank=True)
    is_public = models.BooleanField(default=True)
    position = models.PositiveSmallIntegerField(default=0)
    # SHA-256 of the definition: publishing the same definition again changes nothing.
    digest = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    superseded_at = models.DateTimeField(null=True, blank=True)

    objects = PlanQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["code", "version"], name="quotas_plan_code_version"),
            models.UniqueConstraint(
                fields=["code"],
                condition=Q(superseded_at__isnull=True),
                name="quotas_plan_one_current",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} v{self.version}"


class PlanLimit(models.Model):
    """What a plan includes of a resource; null is unlimited. `overage`: more is allowed and billed."""

    plan = models.ForeignKey(Plan, models.CASCADE, related_name="limits")
    resource = models.CharField(max_length=16, choices=RESOURCE_CHOICES)
    limit = models.BigIntegerField(null=True, blank=True)
    overage = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["plan", "resource"], name="quotas_planlimit_unique"),
            models.CheckConstraint(
                condition=Q(limit__isnull=True) | Q(limit__gte=0), name="quotas_planlimit_positive"
            ),
            models.CheckConstraint(
                condition=Q(resource__in=[r.value for r in Resource]),
                name="quotas_planlimit_resource",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan_id} {self.resource}: {self.limit}"


class PlanPrice(models.Model):
    """The base price of a plan in one currency and interval, in minor units."""

    plan = models.ForeignKey(Plan, models.CASCADE, related_name="prices")
    currency = models.CharField(max_length=3)
    interval = models.CharField(max_length=5, choices=[("month", "month"), ("year", "year")])
    amount_minor = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["plan", "currency", "interval"], name="quotas_planprice_unique"
            ),
            models.CheckConstraint(
                condition=Q(amount_minor__gte=0), name="quotas_planprice_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount_minor} {self.currency} a {self.interval}"


class PlanCharge(models.Model):
    """The price of usage past what is included, in major units; see `quotas.charges`."""

    plan = models.ForeignKey(Plan, models.CASCADE, related_name="charges")
    resource = models.CharField(max_length=16, choices=RESOURCE_CHOICES)
    currency = models.CharField(max_length=3)
    unit = models.CharField(max_length=32)
    unit_size = models.BigIntegerField(default=1)
    included = models.BigIntegerField(default=0)
    model = models.CharField(
        max_length=16,
        choices=[(name, name) for name in MODELS],
        default="per_unit",
        db_default="per_unit",
    )
    unit_amount = models.DecimalField(max_digits=24, decimal_places=12)
    # [{"up_to": "10", "unit_amount": "5", "flat_amount": "2"}, …]; of the last one up_to is null.
    tiers = models.JSONField(default=list, db_default=[], blank=True)
    minimum = models.DecimalField(max_digits=24, decimal_places=12, null=True, blank=True)
    maximum = models.DecimalField(max_digits=24, decimal_places=12, null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["plan", "resource", "currency"], name="quotas_plancharge_unique"
            ),
            models.CheckConstraint(
                condition=Q(unit_amount__gte=0, unit_size__gte=1, included__gte=0),
                name="quotas_plancharge_positive",
            ),
            models.CheckConstraint(
                condition=Q(model__in=TIERED) & ~Q(tiers=[])
                | Q(model__in=sorted(set(MODELS) - set(TIERED)), tiers=[]),
                name="quotas_plancharge_model",
            ),
            models.CheckConstraint(
                condition=(Q(minimum__isnull=True) | Q(minimum__gte=0))
                & (Q(maximum__isnull=True) | Q(maximum__gte=0))
                & (
                    Q(minimum__isnull=True) | Q(maximum__isnull=True) | Q(minimum__lte=F("maximum"))
                ),
                name="quotas_plancharge_bounds",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.resource} in {self.currency}: {self.model}"

    @property
    def definition(self) -> ChargeDefinition:
        """What it was made from."""
        return ChargeDefinition(
            unit=self.unit,
            unit_size=self.unit_size,
            included=self.included,
            unit_amount=self.unit_amount,
            model=self.model,  # type: ignore[arg-type]  # the choices are the models
            tiers=tuple(_tier(row) for row in self.tiers),
            minimum=self.minimum,
            maximum=self.maximum,
        )


def _tier(row: dict[str, str | None]) -> Tier:
    up_to = row["up_to"]
    return Tier(
        up_to=None if up_to is None else Decimal(up_to),
        unit_amount=Decimal(row["unit_amount"] or 0),
        flat_amount=Decimal(row["flat_amount"] or 0),
    )


class PlanOffer(models.Model):
    """That an organization may subscribe to a plan, by its code, which the catalogue does not show."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="plan_offers")
    code = models.CharField(max_length=32)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org", "code"], name="quotas_planoffer_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.org_id}: {self.code}"


class PlanAssignment(models.Model):
    """The plan version an organization has. Without a row it has the current free plan."""

    org = models.OneToOneField("orgs.Organization", models.CASCADE, related_name="plan_assignment")
    plan = models.ForeignKey(Plan, models.PROTECT, related_name="assignments")
    assigned_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.org_id}: plan {self.plan_id}"


class PlanTerm(models.Model):
    """From `start` on, until the organization's next term, it has this plan version."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="plan_terms")
    plan = models.ForeignKey(Plan, models.PROTECT, related_name="+")
    start = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org", "start"], name="quotas_planterm_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.org_id}: plan {self.plan_id} from {self.start:%Y-%m-%dT%H:%M}"


class LimitOverride(models.Model):
    """A limit that staff set for one organization; it wins over the plan's until it expires."""

    org = models.ForeignKey("orgs.Organization", models.CASCADE, related_name="limit_overrides")
    resource = models.CharField(max_length=16, choices=RESOURCE_CHOICES)
    limit = models.BigIntegerField(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["org", "resource"], name="quotas_limitoverride_unique"),
            models.CheckConstraint(
                condition=Q(limit__isnull=True) | Q(limit__gte=0),
                name="quotas_limitoverride_positive",
            ),
            models.CheckConstraint(
                condition=Q(resource__in=[r.value for r in Resource]),
                name="quotas_limitoverride_resource",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.org_id} {self.resource}: {self.limit}"


class QuotaSettings(models.Model):
    """What is set for an organization beside its limits.

    `custom_settings` are staff's; Spoke only stores them. Periods of usage are months from
    `period_anchor` on; null: months of the calendar.
    """

    org = models.OneToOneField("orgs.Organization", models.CASCADE, related_name="quota_settings")
    custom_settings = models.JSONField(default=dict, blank=True)
    period_anchor = models.DateTimeField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=1)
    updated_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "quota settings"

    def __str__(self) -> str:
        return f"settings of {self.org_id}"
