"""Keeps secrets that travel in addresses or messages out of the log."""

import re
from typing import Any

# An API token, and the token of an invitation wherever its address appears (also percent-encoded).
API_TOKEN = re.compile(r"spk_[0-9A-Za-z]{49}")
INVITATION = re.compile(r"(invitations(?:/|%2[Ff]))[A-Za-z0-9_-]{43}")


def redact(text: str) -> str:
    """The text with every secret replaced by dots; a token keeps the prefix that names it."""
    text = API_TOKEN.sub(lambda match: f"{match[0][:12]}…", text)
    return INVITATION.sub(r"\1…", text)


def redact_line(logger: Any, method: str, line: Any) -> Any:
    """The last processor of the log: the rendered line, whatever its parts, without secrets."""
    return redact(line) if isinstance(line, str) else line
