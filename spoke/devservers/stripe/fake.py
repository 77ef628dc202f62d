"""The server in a thread, for tests."""

import threading
from datetime import datetime
from types import TracebackType

from spoke.devservers.stripe.control import Control
from spoke.devservers.stripe.server import Server
from spoke.devservers.stripe.store import Store


class FakeStripe:
    """`with FakeStripe() as fake:` answers at `fake.url`; its clock stands at `start`."""

    def __init__(self, *, start: datetime | None = None) -> None:
        self.store = Store(start=start)
        self.server = Server(self.store)
        self.url = self.server.url
        self.control = Control(self.url)

    def __enter__(self) -> "FakeStripe":
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.server.stopping.set()
        self.server.shutdown()
        self.server.server_close()
