"""A way to Valkey that can be held: it goes on accepting, and nothing comes through."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit


class Holding:
    """Between a client and a server on unix sockets. Closed, it refuses."""

    def __init__(self, *, listen: Path, server: str) -> None:
        self._server = server
        self._through = threading.Event()
        self._through.set()
        self._ends: list[socket.socket] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(listen))
        self._socket.listen(64)
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """From now on nobody gets an answer."""
        self._through.clear()

    def release(self) -> None:
        """What was held comes through, and what comes later too."""
        self._through.set()

    def close(self) -> None:
        """Ends every connection."""
        self.release()
        for end in [self._socket, *self._ends]:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            self._ends += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                self._through.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return


@contextmanager
def holding(listen: Path, url: str) -> Iterator[tuple[Holding, str]]:
    """A way to the server at a `unix://` URL, and the URL of the way."""
    parts = urlsplit(url)
    way = Holding(listen=listen, server=parts.path)
    try:
        yield way, f"unix://{listen}?{parts.query}"
    finally:
        way.close()
