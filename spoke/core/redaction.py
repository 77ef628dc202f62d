"""Keeps secrets that travel in addresses or messages out of the log."""

import re
from typing import Any

# An API token, and the token of an invitation wherever its address appears (also percent-encoded), or
# sealed in the way back from sign-in, which leads whoever follows it to the token.
API_TOKEN = re.compile(r"spk_[0-9A-Za-z]{49}")
INVITATION = re.compile(r"(invitations(?:/|%2[Ff]))[A-Za-z0-9_-]{43}")
SEALED = re.compile(r"(invitations(/|%(?:25)*2[Ff])back\2)[A-Za-z0-9_=%-]+")


def redact(text: str) -> str:
    """The text with every secret replaced by dots; a token keeps the prefix that names it."""
    text = API_TOKEN.sub(lambda match: f"{match[0][:12]}…", text)
    return INVITATION.sub(r"\1…", SEALED.sub(r"\1…", text))


def redact_line(logger: Any, method: str, line: Any) -> Any:
    """The last processor of the log: the rendered line, whatever its parts, without secrets."""
    return redact(line) if isinstance(line, str) else line
