"""The command-line client of Spoke's API. It knows nothing of the server's code, only of HTTP."""

__version__ = "0.1.0"
