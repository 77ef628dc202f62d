"""`python -m spoke.cli`, and the entry point `spoke`."""

import sys

from spoke.cli.app import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
