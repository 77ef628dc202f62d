"""Serializers that are kept answer like ones made anew; what is refused is refused at little cost."""

from typing import Any

from rest_framework import serializers

from spoke.core.serializers import BoundedListField, StrictSerializer, represent


class Inner(serializers.Serializer):
    word = serializers.SerializerMethodField()

    def get_word(self, found):
        return self.context["words"][found]


class Outer(serializers.Serializer):
    inner = Inner(source="*")
    number = serializers.IntegerField(source="*")


def test_each_call_has_its_own_context():
    for words in ({1: "one"}, {1: "eins"}):
        context = {"words": words}
        expected = {"inner": {"word": words[1]}, "number": 1}
        assert represent(Outer, 1, context) == expected == Outer(1, context=context).data


def test_nothing_of_a_call_that_failed_is_kept():
    for _ in range(2):
        try:
            represent(Outer, 1, {"words": {}})
        except KeyError:
            continue
        raise AssertionError
    assert represent(Outer, 2, {"words": {2: "two"}})["inner"] == {"word": "two"}


class Names(StrictSerializer):
    names = BoundedListField(child=serializers.CharField(max_length=3), max_length=2)


def test_a_list_that_is_too_long_is_refused_before_its_items_are_looked_at(monkeypatch):
    assert Names(data={"names": ["a", "b"]}).is_valid()
    looked: list[Any] = []
    monkeypatch.setattr(serializers.CharField, "run_validation", lambda self, x: looked.append(x))
    serializer = Names(data={"names": ["a", "b", "too long"]})
    assert not serializer.is_valid()
    assert [error.code for error in serializer.errors["names"]] == ["max_length"]
    assert looked == []


def test_of_many_unknown_fields_the_first_are_named():
    serializer = Names(data={"names": [], **{f"k{number}": 0 for number in range(10_000)}})
    assert not serializer.is_valid()
    assert list(serializer.errors) == [f"k{number}" for number in range(100)]
