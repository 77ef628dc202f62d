"""`python -m spoke.devservers.stripe --port 0 --state FILE`: the server as a process."""

import argparse
import sys
from pathlib import Path

from spoke.devservers.stripe.server import Server
from spoke.devservers.stripe.store import Store


def main() -> int:
    """Serves until it is told to end."""
    parser = argparse.ArgumentParser(description="Stands in for Stripe, in development.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path, help="where its state is kept from run to run")
    options = parser.parse_args()
    server = Server(Store(file=options.state), options.port)
    sys.stdout.write(f"listening on {server.url}\n")
    sys.stdout.flush()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    finally:
        server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
