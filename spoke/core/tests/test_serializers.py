"""A serializer that is kept answers like one that is made anew."""

from rest_framework import serializers

from spoke.core.serializers import represent


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
