"""No float touches money: a rule over the source of all that computes, stores or carries amounts.

Each finding is a float that arises: a literal, a call of `float`, a column, a division of whole
numbers, a function of `math` that answers one, or JSON whose numbers are read as floats.
"""

import ast
from pathlib import Path

import pytest

from tests.support.running import ROOT

PACKAGES = ("billing", "spoke/devservers/stripe")
MODULES = (
    *("quotas/rating.py", "quotas/services/spend.py", "quotas/services/budgets.py"),
    *("quotas/services/plans.py", "quotas/services/plan_file.py", "spoke/core/money.py"),
)
# Of these the numbers are seconds, ports and percentages to be shown; none is an amount.
SECONDS = {
    "billing/documents.py": "the space around a heading of the PDF, in lines",
    "billing/stripe/client.py": "how long to wait for Stripe, in seconds",
    "spoke/devservers/stripe/deliveries.py": "how long webhooks wait, in seconds",
    "spoke/devservers/stripe/fake.py": "how often the server looks whether it stops, in seconds",
    "spoke/devservers/stripe/server.py": "how long a request hangs on demand, in seconds",
    "spoke/devservers/stripe/control.py": "how long a control may take, in seconds",
    "spoke/devservers/stripe/store.py": "how far the clock was turned, in seconds",
}
# Functions that read JSON in which no amount has a fraction, and why.
JSON = {
    "billing/stripe/gateway.py:_as_delivered": "Stripe's amounts are whole numbers, or text",
    "billing/stripe/webhooks.py:_parsed": "Stripe's amounts are whole numbers, or text",
    "spoke/devservers/stripe/control.py:_ask": "the clock, and objects for tests to look at",
    "spoke/devservers/stripe/server.py:_control": "times, names and switches",
    "spoke/devservers/stripe/store.py:_load": "what it wrote itself: amounts are whole numbers, or text",
    "spoke/devservers/stripe/store.py:json_number": "a percentage to be shown; the text is computed",
}
# What of `math` answers whole numbers for whole numbers.
WHOLE = {"gcd", "isqrt", "lcm", "comb", "perm", "factorial", "ceil", "floor"}
# What a division is exact of: one side is made by these, or has such a name.
EXACT = {"Decimal", "Fraction"}


def sources() -> list[Path]:
    found = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]
    found += [ROOT / name for name in MODULES]
    return [
        path for path in found if not {"tests", "migrations", "mirror_migrations"} & {*path.parts}
    ]


class Rule(ast.NodeVisitor):
    """Collects what the rule forbids in one module."""

    def __init__(self, text: str, name: str = "<planted>") -> None:
        self.name = name
        self.found: list[str] = []
        self.excused: set[str] = set()
        self.inside: list[ast.AST] = []
        self.visit(ast.parse(text))

    def say(self, node: ast.expr | ast.stmt, what: str) -> None:
        self.found.append(f"{self.name}:{node.lineno}: {what}")

    def function(self) -> ast.AST | None:
        return self.inside[-1] if self.inside else None

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.inside.append(node)
        self.generic_visit(node)
        self.inside.pop()

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, float):
            if self.name in SECONDS:
                self.excused.add(self.name)
            else:
                self.say(node, f"the float {node.value}")

    def visit_Call(self, node: ast.Call) -> None:
        called = ast.unparse(node.func)
        if called == "float":
            self.say(node, "float()")
        elif called.endswith("FloatField"):
            self.say(node, "a column of floats")
        elif called in ("json.loads", "json.load") and not self._reads_exactly(node):
            self.say(node, f"{called} without parse_float=Decimal")
        self.generic_visit(node)

    def _reads_exactly(self, node: ast.Call) -> bool:
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        function = self.function()
        where = f"{self.name}:{getattr(function, 'name', '')}"
        if where in JSON:
            self.excused.add(where)
        return given.get("parse_float") == "Decimal" or where in JSON

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if ast.unparse(node.value) == "math" and node.attr not in WHOLE:
            self.say(node, f"math.{node.attr} answers a float")
        self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module == "math":
            for name in node.names:
                if name.name not in WHOLE:
                    self.say(node, f"math.{name.name} answers a float")

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Div):
            self._divided(node, node.left, node.right)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.op, ast.Div):
            self._divided(node, node.target, node.value)
        self.generic_visit(node)

    def _divided(self, node: ast.expr | ast.stmt, *sides: ast.expr) -> None:
        if not any(self._exact(side) for side in sides):
            self.say(node, "a division of what may be whole numbers")

    def _exact(self, node: ast.AST, seen: frozenset[str] = frozenset()) -> bool:
        """Whether a Decimal or Fraction is in it: by its form, an annotation, or what it was set to.

        A text makes it a path of pathlib.
        """
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in EXACT or called in ("int", "len"):
                return called in EXACT
        if isinstance(node, ast.Constant | ast.JoinedStr):
            return isinstance(node, ast.JoinedStr) or isinstance(node.value, str)
        if isinstance(node, ast.Name):
            return node.id not in seen and self._named_exact(node.id, seen | {node.id})
        return any(self._exact(part, seen) for part in ast.iter_child_nodes(node))

    def _named_exact(self, name: str, seen: frozenset[str]) -> bool:
        for part in ast.walk(self.function() or ast.Module([], [])):
            if isinstance(part, ast.arg) and part.arg == name:
                return part.annotation is not None and ast.unparse(part.annotation) in EXACT
            if isinstance(part, ast.Assign | ast.comprehension):
                assigned = isinstance(part, ast.Assign)
                targets = part.targets if assigned else [part.target]
                value = part.value if assigned else part.iter
                if name in map(ast.unparse, targets) and self._exact(value, seen):
                    return True
        return False


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_float_touches_money(path):
    assert Rule(path.read_text(), str(path.relative_to(ROOT))).found == []


def test_all_of_it_is_read():
    names = {str(path.relative_to(ROOT)) for path in sources()}
    assert {*MODULES, "billing/services/invoicing.py", "billing/proration.py"} <= names


def test_no_exception_is_left_over():
    rules = [Rule(path.read_text(), str(path.relative_to(ROOT))) for path in sources()]
    assert set().union(*(rule.excused for rule in rules)) == {*SECONDS, *JSON}


@pytest.mark.parametrize(
    ("planted", "what"),
    [
        ("price = 0.1", "the float 0.1"),
        ("price = 1e2", "the float 100.0"),
        ("def f(x): return float(x)", "float()"),
        ("amount = models.FloatField()", "a column of floats"),
        ("amount = serializers.FloatField(min_value=0)", "a column of floats"),
        ("def f(text): return json.loads(text)", "json.loads without parse_float=Decimal"),
        ("def f(text): return json.load(text, parse_float=float)", "json.load without"),
        ("import math\ndef f(x): return math.pow(x, 2)", "math.pow answers a float"),
        ("from math import ceil, sqrt", "math.sqrt answers a float"),
        ("def f(total, days): return total / days", "a division"),
        ("def f(total): return round(total / 2)", "a division"),
        ("def f(total):\n    total /= 3\n    return total", "a division"),
        ("class A:\n    def f(self, cents: int): return cents / 100", "a division"),
        (
            "def f(rows):\n    exact = [Fraction(row) for row in rows]\n    return 1 / len(exact)",
            "a division",
        ),
        ("total = 7\nhalf = total / 2", "a division"),
    ],
)
def test_what_the_rule_forbids_is_found(planted, what):
    (found,) = Rule(planted).found
    assert what in found


@pytest.mark.parametrize(
    "allowed",
    [
        "price = Decimal('0.1')",
        "def f(total: int, days: int): return total * days // 31",
        "def f(total: Decimal): return total / 100",
        "def f(total): return Decimal(total) / 100",
        "def f(total):\n    share = Fraction(total)\n    return share / 3",
        "def f(text): return json.loads(text, parse_float=Decimal)",
        "from math import ceil, gcd",
        "def f(seconds: float) -> float | None: return None",
        "place = ROOT / 'plans.toml'",
        "def f(rows):\n    exact = [Fraction(row) for row in rows]\n    return sum(exact) / 2",
        "def f(rows):\n    all = [Fraction(row) for row in rows]\n    return [one / 3 for one in all]",
    ],
)
def test_what_is_exact_is_not(allowed):
    assert Rule(allowed).found == []
