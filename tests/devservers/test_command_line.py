"""`python -m spoke.devservers`, as a shell uses it."""

import subprocess
import sys

import pytest

from .conftest import PROJECT, clean_environment


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "spoke.devservers", *arguments],
        cwd=PROJECT,
        env=clean_environment() | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


GIVEN = {"DATABASE_URL": "postgres://given/x", "REDIS_URL": "redis://given:1/0"}


def test_urls_are_printed_for_a_shell() -> None:
    done = run("urls", **GIVEN)
    assert done.stdout == "DATABASE_URL=postgres://given/x\nREDIS_URL=redis://given:1/0\n"


@pytest.mark.parametrize("separator", [[], ["--"]])
def test_a_command_gets_the_urls_and_gives_its_status(separator: list[str]) -> None:
    done = run("exec", "--ephemeral", *separator, "sh", "-c", "echo $REDIS_URL; exit 7", **GIVEN)
    assert (done.stdout, done.returncode) == ("redis://given:1/0\n", 7)


def test_psql_takes_its_own_options() -> None:
    done = run("exec", "--ephemeral", sys.executable, "-m", "spoke.devservers", "psql", "-Atc",
              "select current_user, current_database()")  # fmt: skip
    assert (done.stdout, done.returncode) == ("spoke|spoke\n", 0), done.stderr


def test_an_impossible_port_ends_the_run_with_one_line() -> None:
    done = run("run", PORT="70000")
    assert done.returncode == 1
    assert done.stderr == "spoke: PORT must be a number from 1 to 65535, and is '70000'\n"
