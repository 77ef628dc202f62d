"""What every page of an organization is made of: what it reads, what can be done on it."""

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, urlsplit

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django_ratelimit.core import is_ratelimited

from spoke.pages.inside import Answer, call

# What a person does by hand in a minute, with room to spare.
ACTS_PER_MINUTE = "60/m"
PART = re.compile(r"[A-Za-z0-9_-]{1,255}")
MEMBERS, TEAM, OWNERS = (
    ("owner", "admin", "developer", "viewer", "staff"),
    ("owner", "admin", "staff"),
    ("owner", "staff"),
)


@dataclass(frozen=True)
class Act:
    """One request to the API, made of a form.

    `path` is below the organization; `{id}` is taken from the form. `fields` are sent as they are, and
    `body` makes more of the form. With `ask`, a page asks it before anything happens; {name} stands for
    what the form has. `typed` has the person type the organization's name.
    """

    method: str
    path: str
    fields: tuple[str, ...] = ()
    done: str = "Saved."
    ask: str = ""
    button: str = ""
    typed: bool = False
    body: Callable[[dict[str, str]], dict[str, Any]] | None = None
    # Where the answer has an address, the browser goes there.
    leads_away: bool = False
    # Whether the answer holds what is shown once.
    secret: bool = False
    # The page that follows; "": the same.
    then: str = ""

    def data(self, sent: dict[str, str]) -> dict[str, Any] | None:
        """The request's body. Raises ValueError, for people, for what is no body of any request."""
        data: dict[str, Any] = {name: sent.get(name, "").strip() for name in self.fields}
        if self.body is not None:
            data |= self.body(sent)
        return data or None


@dataclass
class Shown:
    """What a page shows beside what it reads."""

    status: int = 200
    refusals: list[str] = field(default_factory=list)
    sent: dict[str, str] = field(default_factory=dict)
    secret: Any = None


@method_decorator(never_cache, name="dispatch")
class Page(LoginRequiredMixin, View):
    """Asks the API what `reads` names, and does what `acts` has."""

    template: ClassVar[str]
    reads: ClassVar[dict[str, str]] = {}
    acts: ClassVar[dict[str, Act]] = {}

    def root(self) -> str:
        """What the API's addresses here begin with."""
        return ""

    def ask(self, path: str, **query: str) -> Answer:
        """The API's answer to a GET."""
        return call(self.request, "GET", f"{self.root()}{path}", query=query)

    def context(self) -> dict[str, Any]:
        """What the template is given: of each read the JSON, None where the role may not see it."""
        found = {name: self.ask(path) for name, path in self.reads.items()}
        return {name: answer.data if answer.ok else None for name, answer in found.items()}

    def get(self, request: HttpRequest, **kwargs: str) -> HttpResponse:
        return self.show(Shown())

    def post(self, request: HttpRequest, **kwargs: str) -> HttpResponse:
        if is_ratelimited(  # type: ignore[no-untyped-call]
            request, group="pages", key="user", rate=ACTS_PER_MINUTE, increment=True
        ):
            return render(request, "429.html", status=429)
        sent = {name: str(value) for name, value in request.POST.items()}
        act = self.acts.get(sent.get("do", ""))
        if act is None or "\0" in "".join(sent.values()):
            raise Http404
        return self.perform(act, sent)

    def perform(self, act: Act, sent: dict[str, str]) -> HttpResponse:
        """Asks first where that is needed; then does it, and shows the page anew or why not."""
        if act.ask and "confirmed" not in sent:
            return self.asked(act, sent)
        if act.typed and sent.get("typed", "") != self.kwargs.get("org"):
            return self.asked(act, sent, "Type the name exactly as it stands here.")
        try:
            data = act.data(sent)
        except ValueError as problem:
            return self.show(Shown(400, [str(problem)], sent))
        if act.leads_away:
            data = (data or {}) | self.back()
        answer = call(self.request, act.method, self._path(act, sent), data)
        if not answer.ok:
            return self.show(Shown(answer.status, answer.refusals, sent))
        if act.leads_away:
            return redirect(answer.data["url"])
        if act.secret:
            return self.show(Shown(secret=answer.data))
        messages.success(self.request, act.done)
        return redirect(act.then, **self.kwargs) if act.then else redirect(self.request.path)

    def asked(self, act: Act, sent: dict[str, str], problem: str = "") -> HttpResponse:
        """The page that says what will happen."""
        context = {
            **self.context(),
            "act": act,
            "question": act.ask.format_map(defaultdict(str, sent)),
            "told": self.told(act, sent),
            "sent": {k: v for k, v in sent.items() if k not in ("csrfmiddlewaretoken", "typed")},
            "problem": problem,
        }
        return render(self.request, "pages/confirm.html", context, status=400 if problem else 200)

    def back(self) -> dict[str, str]:
        """How somebody who is led away comes back: the addresses that the request names."""
        return {}

    def told(self, act: Act, sent: dict[str, str]) -> list[tuple[str, str]]:
        """More that the question says: what, and how much."""
        return []

    def show(self, shown: Shown) -> HttpResponse:
        """The page."""
        context = {**self.context(), "shown": shown, "sent": shown.sent}
        return render(self.request, self.template, context, status=shown.status)

    def _path(self, act: Act, sent: dict[str, str]) -> str:
        if "{id}" not in act.path:
            return f"{self.root()}{act.path}"
        part = sent.get("id", "")
        if not PART.fullmatch(part):
            raise Http404
        return f"{self.root()}{act.path.format(id=part)}"


class OrgPage(Page):
    """A page of one organization. Outsiders get a 404, and who may not see it a 403."""

    roles: ClassVar[tuple[str, ...]] = MEMBERS
    tab: ClassVar[str] = ""

    def root(self) -> str:
        return f"/orgs/{quote(self.kwargs['org'])}"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not request.user.is_authenticated:
            return self.handle_no_permission()
        answer = self.ask("")
        if answer.status == 404:
            raise Http404
        if not answer.ok:
            return render(request, "pages/away.html", {"answer": answer}, status=answer.status)
        self.org = answer.data
        if self.org["role"] not in self.roles:
            return render(request, "403.html", {"org": self.org}, status=403)
        return super().dispatch(request, *args, **kwargs)

    def context(self) -> dict[str, Any]:
        role = self.org["role"]
        return {
            **super().context(),
            "org": self.org,
            "api": self.root(),
            "tab": self.tab,
            "team": role in TEAM,
            "owner": role in OWNERS,
        }


def older(listing: dict[str, Any] | None) -> str:
    """The cursor of what follows a list of the API; "" at its end."""
    following = (listing or {}).get("next") or ""
    return parse_qs(urlsplit(following).query).get("cursor", [""])[0]


def cursor_of(request: HttpRequest) -> dict[str, str]:
    """Where in a list the page is."""
    cursor = request.GET.get("cursor", "")
    return {"cursor": cursor} if cursor else {}
