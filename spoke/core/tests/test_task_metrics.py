"""What is counted of tasks."""

from prometheus_client import REGISTRY

from spoke.core.tasks import prune_idempotency_records


def test_a_task_is_counted_by_name_and_end(db):
    labels = {"task": prune_idempotency_records.name, "state": "SUCCESS"}
    before = REGISTRY.get_sample_value("spoke_task_seconds_count", labels) or 0
    prune_idempotency_records.apply(throw=True)
    assert REGISTRY.get_sample_value("spoke_task_seconds_count", labels) == before + 1
