"""Where the checkout's Stripe server is, and the clock that development shares with it."""

import contextlib
import os
import socket
from pathlib import Path

from .locks import FileLock
from .places import Instance

KEY = "sk_test_" + "SpokeDevelopmentOnly0000"
PUBLISHABLE = "pk_test_" + "SpokeDevelopmentOnly0000"


class StripePlace:
    """One server for all who work in a checkout. Its port is chosen once, and kept."""

    def __init__(self, root: Path) -> None:
        self.home = Instance.of(root=root, service="stripe", kind="dev").home
        self.lock = FileLock(self.home / "alive.lock")
        self.state = self.home / "state.json"
        self.clock = self.home / "clock"

    def environment(self) -> dict[str, str]:
        """What makes Spoke use it; nothing where a key of Stripe's is set."""
        if os.environ.get("STRIPE_SECRET_KEY") not in (None, KEY):
            return {}
        return {
            "STRIPE_SECRET_KEY": KEY,
            "STRIPE_PUBLISHABLE_KEY": PUBLISHABLE,
            "STRIPE_API_HOST": f"http://127.0.0.1:{self.port()}",
            "SPOKE_CLOCK_FILE": str(self.clock),
        }

    def port(self) -> int:
        """The port, chosen where there is none."""
        file = self.home / "port"
        if not file.exists():
            partial = file.with_name(f"port.{os.getpid()}")
            partial.write_text(str(_free_port()))
            with contextlib.suppress(FileExistsError):  # the first one's stays
                os.link(partial, file)
            partial.unlink()
        return int(file.read_text())

    def forget_taken_port(self) -> None:
        """Chooses another port where somebody else has taken ours. Only while nobody serves."""
        if not self.lock.try_exclusive():
            return
        try:
            if not _is_free(self.port()):
                (self.home / "port").unlink()
        finally:
            self.lock.unlock()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
