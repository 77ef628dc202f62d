"""The tours, as a newcomer takes them: a real web server, a real worker, real mail."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

from spoke.devservers.banner import read_env
from spoke.devservers.errors import wait_until
from spoke.devservers.stripe.control import Control
from spoke.devservers.stripe_place import KEY
from tests.support.running import ROOT, WORKER, free_port, process, running_web


def manage(environment: dict[str, str], *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def take(script: str, environment: dict[str, str]) -> None:
    tour = subprocess.run(
        [script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert tour.returncode == 0, tour.stdout[-3000:] + tour.stderr
    assert "The tour is over:" in tour.stdout


def test_the_tours_go_as_they_say(environment: dict[str, str], tmp_path: Path):
    port = free_port()
    environment["SPOKE_BASE_URL"] = f"http://127.0.0.1:{port}"
    manage(environment, "seed_plans")
    manage(environment, "seed_demo", "--env-file", environment["DEMO_ENV"])
    first = Path(environment["DEMO_ENV"]).read_text()
    with running_web(port=port, env=environment), process(WORKER, environment):
        take("examples/api_tour.sh", environment)
        take("examples/cli_tour.sh", environment)
        # The tour's own invitations may be void by the time the worker comes to them; this one stays.
        link = invite(read_env(Path(environment["DEMO_ENV"])))
        assert wait_until(lambda: link in links_in(tmp_path / "mail"), seconds=30)
    manage(environment, "seed_demo", "--env-file", environment["DEMO_ENV"])
    assert Path(environment["DEMO_ENV"]).read_text() == first


def test_the_tour_pays_by_card_where_stripe_is(environment: dict[str, str]):
    stripe, port = free_port(), free_port()
    environment |= {
        "SPOKE_BASE_URL": f"http://127.0.0.1:{port}",
        "STRIPE_SECRET_KEY": KEY,
        "STRIPE_API_HOST": f"http://127.0.0.1:{stripe}",
    }
    manage(environment, "seed_plans")
    manage(environment, "seed_demo", "--env-file", environment["DEMO_ENV"])
    serve = ["manage", "fake_stripe", "serve", "--port", str(stripe)]
    with process(serve, environment), running_web(port=port, env=environment):
        assert wait_until(lambda: knows_prices(environment), seconds=60)
        with process(WORKER, environment):
            take("examples/api_tour.sh", environment)


def knows_prices(environment: dict[str, str]) -> bool:
    """Whether the Stripe server stands, with the prices that it is set up with."""
    try:
        return len(Control(environment["STRIPE_API_HOST"]).state().get("price", [])) > 0
    except OSError:
        return False


def invite(demo: dict[str, str]) -> str:
    """Invites somebody into the demo organization; the link that they are to get by mail."""
    request = urllib.request.Request(
        f"{demo['API_URL']}/orgs/{demo['ORG_ID']}/invitations",
        data=json.dumps({"email": "mailed@example.net", "role": "viewer"}).encode(),
        headers={
            "Authorization": f"Bearer {demo['TOKEN']}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["accept_url"])


def links_in(folder: Path) -> list[str]:
    """The invitations' links in the mails of a folder."""
    return [
        line.strip()
        for file in sorted(folder.glob("*.log"))
        for line in file.read_text().splitlines()
        if line.strip().startswith("http") and "/accounts/invitations/" in line
    ]
