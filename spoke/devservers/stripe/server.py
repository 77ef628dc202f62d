"""The HTTP side: keys, idempotency, faults, and what is answered."""

import hashlib
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from spoke.devservers.stripe import (  # noqa: F401 - those that only register routes
    catalogue,
    checkout,
    controls,
    coupons,
    credit_notes,
    forms,
    invoice_api,
    pages,
    payments,
    routes,
    subscription_api,
    tax_ids,
    webhook_api,
)
from spoke.devservers.stripe.deliveries import Deliveries
from spoke.devservers.stripe.errors import Refusal
from spoke.devservers.stripe.expand import rendered
from spoke.devservers.stripe.store import API_VERSION, Store

DAY = 86_400
# Longer than any client of ours waits.
HANGING = 90.0


class Server(ThreadingHTTPServer):
    """One store, one queue of webhooks, any number of connections."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, store: Store, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.store = store
        self.url = store.base_url = f"http://127.0.0.1:{self.server_address[1]}"
        self.faults = controls.Faults()
        self.deliveries = Deliveries(store)
        self.controlled = controls.Controlled(store, self.faults, self.deliveries)
        self.stopping = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, *args: Any) -> None:
        """Says nothing: the index page has the log."""

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_DELETE(self) -> None:
        self._handle("DELETE")

    def _handle(self, method: str) -> None:
        address = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if address.path.startswith("/_control/"):
            self._control(address.path.removeprefix("/_control/"), body)
        elif address.path.startswith(("/v1/", "/v2/")):
            self._api(method, address.path, body or address.query)
        else:
            self._page(method, address.path, body)

    def _control(self, path: str, body: str) -> None:
        if path == "deliver":
            self._send(200, {"tried": self.server.deliveries.deliver()})
            return
        store = self.server.store
        with store.lock:
            try:
                answer = controls.control(self.server.controlled, path, json.loads(body or "{}"))
                status = 200
            except Refusal as refusal:
                status, answer = refusal.status, refusal.body()
            store.save()
        self.server.deliveries.wake()
        self._send(status, answer)

    def _api(self, method: str, path: str, form: str) -> None:
        fault = self.server.faults.take(method, path)
        if fault == "timeout":
            self.server.stopping.wait(HANGING)
            self.close_connection = True
            return
        if fault in ("429", "500"):
            kind = "rate_limit" if fault == "429" else "api_error"
            self._send(int(fault), {"error": {"type": kind, "message": "On demand.", "code": kind}})
            return
        status, answer, replayed = self._answered(method, path, form)
        if fault == "disconnect_after":
            self.close_connection = True
            return
        self._send(status, answer, replayed=replayed)

    def _answered(self, method: str, path: str, form: str) -> tuple[int, Any, bool]:
        store = self.server.store
        with store.lock:
            try:
                self._authenticate()
                params = forms.parse(form)
                key = self.headers.get("Idempotency-Key") if method != "GET" else None
                if key:
                    return self._once(key, method, path, params)
                status, answer = self._run(method, path, params)
            except Refusal as refusal:
                status, answer = refusal.status, refusal.body()
            if method != "GET":
                store.save()
        self.server.deliveries.wake()
        return status, answer, False

    def _authenticate(self) -> None:
        scheme, _, key = (self.headers.get("Authorization") or "").partition(" ")
        if scheme == "Basic" or key.startswith(("sk_test_", "rk_test_")):
            return
        if "_live_" in key:
            raise Refusal("This server takes no live keys.", status=401)
        raise Refusal("You did not provide an API key.", status=401)

    def _run(self, method: str, path: str, params: dict[str, Any]) -> tuple[int, Any]:
        store = self.server.store
        try:
            found = routes.answer(store, method, path, params)
            if path.endswith("/confirm") and "payment_intents" in path:
                controls.after_payment(store, found["id"], found["status"])
            expand = params.get("expand") or []
            return 200, rendered(store, found, expand)
        except Refusal as refusal:
            return refusal.status, refusal.body()

    def _once(
        self, key: str, method: str, path: str, params: dict[str, Any]
    ) -> tuple[int, Any, bool]:
        """The first answer under a key is the answer for a day; errors of ours are not kept."""
        store = self.server.store
        digest = hashlib.sha256(json.dumps([method, path, params]).encode()).hexdigest()
        kept = store.idempotency.get(key)
        if kept and kept["at"] > store.now() - DAY:
            if kept["digest"] != digest:
                refusal = Refusal(
                    "Keys for idempotent requests can only be used with the same parameters they"
                    " were first used with.",
                    kind="idempotency_error",
                    code="idempotency_key_in_use",
                )
                return refusal.status, refusal.body(), False
            return kept["status"], kept["answer"], True
        status, answer = self._run(method, path, params)
        # What was refused before anything began may be sent again, as Stripe has it.
        if status == 200 or status == 402:
            entry = {"at": store.now(), "digest": digest, "status": status, "answer": answer}
            store.idempotency[key] = entry
        store.save()
        self.server.deliveries.wake()
        return status, answer, False

    def _page(self, method: str, path: str, body: str) -> None:
        sent = {key: values[0] for key, values in parse_qs(body).items()}
        store = self.server.store
        with store.lock:
            status, text, location = pages.page(self.server, method, path, sent)
            store.save()
        self.server.deliveries.wake()
        data = text.encode()
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _send(self, status: int, answer: Any, *, replayed: bool = False) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Request-Id", f"req_{secrets.token_hex(7)}")
        self.send_header("Stripe-Version", API_VERSION)
        if replayed:
            self.send_header("Idempotent-Replayed", "true")
        self.end_headers()
        self.wfile.write(data)
