"""What `make run` says once everything answers."""

import os
from pathlib import Path


def banner(root: Path, url: str) -> list[str]:
    demo = read_env(root / ".local" / "demo.env")
    rows = [
        ("Sign in", f"{url}/accounts/login/"),
        ("Organizations", f"{url}/app/"),
        ("API documentation", f"{url}/docs"),
        ("Admin", f"{url}/admin/"),
    ]
    if os.environ.get("STRIPE_API_HOST"):
        rows.append(("Stripe (stands in)", os.environ["STRIPE_API_HOST"]))
    logins = [name.removesuffix("_LOGIN") for name in demo if name.endswith("_LOGIN")]
    for name in logins:
        login, password = demo[f"{name}_LOGIN"], demo.get(f"{name}_PASSWORD", "")
        rows.append((f"Login ({name.lower()})", f"{login}  {password}"))
    lines = ["", "  Spoke is ready. Ctrl-C stops it.", ""]
    lines += [f"  {label:<20}{value}" for label, value in rows]
    if "TOKEN" in demo and "ORG_ID" in demo:
        path = f"{url}/orgs/{demo['ORG_ID']}/usage"
        lines += ["", f"  curl -H 'Authorization: Bearer {demo['TOKEN']}' {path}"]
    if demo:
        lines += ["", "  For scripts: . .local/demo.env  (" + " ".join(demo) + ")"]
    return [*lines, ""]


def read_env(path: Path) -> dict[str, str]:
    """KEY=VALUE lines; quotes around a value, comments and an `export` are understood."""
    values = {}
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        name, found, value = line.strip().removeprefix("export ").partition("=")
        if found and name.isidentifier():
            values[name] = value.strip().strip("'\"")
    return values
