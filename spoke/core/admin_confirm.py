"""A question before what staff cannot take back: what will happen, to whom, with which amounts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import transaction
from django.forms import CharField, Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from unfold.widgets import UnfoldAdminTextareaWidget

CONFIRMED = "confirmed"
# As many as somebody reads.
MOST = 100
REASON_LENGTH = 500


@dataclass(frozen=True)
class Question:
    """`title` asks, `button` acts; `reason` labels the field for why, "" where none is kept."""

    title: str
    button: str
    reason: str = ""
    reason_required: bool = True


def confirmed(
    question: Question, tells: Callable[[Any], str]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Of an action of a list: it is carried out once its page was answered.

    The page says of each row what `tells` does. The action is called with (admin, request, rows), and
    with `reason` where the question asks for one. Of more than 100 rows it does nothing.
    """

    def decorate(act: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(act)
        def asked(admin: Any, request: HttpRequest, queryset: Any) -> Any:
            rows = list(queryset[: MOST + 1])
            if len(rows) > MOST:
                messages.error(request, f"Choose {MOST} rows at most.")
                return None
            answered = CONFIRMED in request.POST
            form = _reason_form(question, request.POST if answered else None)
            if answered and (form is None or form.is_valid()):
                given = {"reason": form.cleaned_data["reason"]} if form else {}
                return act(admin, request, rows, **given)
            sent = [("action", act.__name__)]
            sent += [(ACTION_CHECKBOX_NAME, str(row.pk)) for row in rows]
            told = [tells(row) for row in rows]
            return _page(admin, request, question, told, sent, form)

        return asked

    return decorate


class ConfirmedSave:
    """Of an admin's form: it is saved once the page that says what it does was answered.

    To say so it is saved, looked at, and rolled back.
    """

    question = Question("Save this?", "Yes, save")

    def tells_of(self, obj: Any, *, change: bool) -> str:
        """What saving does, of the row as it was just saved."""
        raise NotImplementedError

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        done: Any = super()
        asked = self._asked(request, obj, change=False)
        return asked or done.response_add(request, obj, post_url_continue)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        done: Any = super()
        return self._asked(request, obj, change=True) or done.response_change(request, obj)

    def _asked(self, request: HttpRequest, obj: Any, *, change: bool) -> HttpResponse | None:
        if CONFIRMED in request.POST:
            return None
        told = [self.tells_of(obj, change=change)]
        sent = [(name, value) for name, values in request.POST.lists() for value in values]
        page = _page(self, request, self.question, told, sent, None)
        transaction.set_rollback(True)
        return page


def _reason_form(question: Question, data: Any) -> Form | None:
    if not question.reason:
        return None
    form = Form(data)
    form.fields["reason"] = CharField(
        label=question.reason,
        required=question.reason_required,
        max_length=REASON_LENGTH,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
    )
    return form


def _page(
    admin: Any,
    request: HttpRequest,
    question: Question,
    told: list[str],
    sent: Iterable[tuple[str, str]],
    form: Form | None,
) -> HttpResponse:
    context = {
        **admin.admin_site.each_context(request),
        "opts": admin.opts,
        "title": question.title,
        "button": question.button,
        "told": told,
        "sent": [pair for pair in sent if pair[0] != "csrfmiddlewaretoken"],
        "form": form,
        "back": request.get_full_path(),
    }
    return render(request, "core/admin/confirm.html", context)
