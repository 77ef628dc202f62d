"""`python -m spoke.cli`, and the entry point `spoke`."""

from spoke.cli.app import entry

if __name__ == "__main__":
    entry()
