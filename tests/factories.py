"""Factories for tests. They write rows straight into the tables, so call them behind the door.

The `cast` fixture opens it for a test's own set-up and checks; the code under test runs in the scope
that it opens itself.
"""

from datetime import UTC, datetime

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory

from orgs.models import Membership, Organization, User
from registry.models import Module

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class UserFactory(DjangoModelFactory):
    class Meta:
        model = User
        skip_postgeneration_save = True

    email = factory.Sequence(lambda n: f"user{n}@example.com")
    name = factory.Faker("name")
    password = factory.django.Password("correct horse battery")


class OrganizationFactory(DjangoModelFactory):
    class Meta:
        model = Organization
        skip_postgeneration_save = True

    name = factory.Sequence(lambda n: f"org-{n}")
    display_name = factory.LazyAttribute(lambda o: o.name.title())
    owner = factory.SubFactory(UserFactory)
    created_at = factory.LazyFunction(timezone.now)
    updated_at = factory.SelfAttribute("created_at")

    @factory.post_generation
    def owner_membership(self, create, extracted, **kwargs):
        if create:
            MembershipFactory(org=self, user=self.owner, role="owner")


class MembershipFactory(DjangoModelFactory):
    class Meta:
        model = Membership

    org = factory.SubFactory(OrganizationFactory)
    user = factory.SubFactory(UserFactory)
    role = "developer"
    created_at = factory.LazyFunction(timezone.now)
    updated_at = factory.SelfAttribute("created_at")


class ModuleFactory(DjangoModelFactory):
    class Meta:
        model = Module

    name = factory.Sequence(lambda n: f"module-{n}")
    created_at = factory.LazyFunction(timezone.now)
    updated_at = factory.SelfAttribute("created_at")
