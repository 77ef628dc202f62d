"""Spoke. Nothing is imported here: the command-line client below it knows nothing of the server."""
