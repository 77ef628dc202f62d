"""`python -m tests.crash --rounds 200`: kills processes under load, and compares after each kill."""

import argparse
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice, repeat

from tests.crash.books import Books
from tests.crash.load import Load
from tests.crash.machine import Machine, running_machine
from tests.crash.rounds import Outcome, Rounds, verify

VERIFY_EVERY = 25
# Played in a random order. Workers take seconds to find a restarted Valkey again: meanwhile the web
# server has its turn.
TURNS = (
    ["worker"],
    ["worker"],
    ["worker's child"],
    ["worker's child"],
    ["web"],
    ["valkey", "web"],
    ["valkey", "web process"],
    ["valkey", "web process"],
)
KINDS = sorted({kind for turn in TURNS for kind in turn})


def order(rounds: int, seed: str, only: str | None) -> Iterator[str]:
    """What each round kills."""
    if only:
        return repeat(only, rounds)
    turns = list(TURNS)
    chosen = random.Random(seed)

    def kinds() -> Iterator[str]:
        while True:
            chosen.shuffle(turns)
            yield from chain.from_iterable(turns)

    return islice(kinds(), rounds)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def play(*, kinds: Iterable[str], seed: str, readers: int = 4, senders: int = 2) -> list[str]:
    """Plays a round of each kind; returns what was wrong."""
    began, faults = time.monotonic(), []
    outcomes: list[Outcome] = []
    with running_machine(organizations=8) as machine:
        books = Books(machine.conninfo, machine.redis_url)
        load = Load(
            port=machine.port,
            token=machine.token,
            org_ids=machine.org_ids,
            readers=readers,
            senders=senders,
            seed=seed,
        )
        try:
            player = Rounds(machine, load, books, seed=seed)
            say(f"ready after {time.monotonic() - began:.1f} s, seed {seed}")
            for number, kind in enumerate(kinds, start=1):
                outcome = player.play(kind)
                outcomes.append(outcome)
                say(f"{number:4} {outcome.line()}")
                faults += [f"round {number} ({kind}): {fault}" for fault in outcome.faults]
                if number % VERIFY_EVERY == 0:
                    faults += say_verified(machine)
            faults += say_verified(machine)
        finally:
            load.end()
            books.close()
    say(summary(outcomes, faults, time.monotonic() - began))
    say(f"ended by themselves, and started again: {dict(player.ended_alone)}")
    return faults


def say_verified(machine: Machine) -> list[str]:
    found = verify(machine)
    say(f"     usage verify: {'; '.join(found) or 'clean'}")
    return found


def summary(outcomes: list[Outcome], faults: list[str], seconds: float) -> str:
    """What the rounds amount to."""
    kinds = Counter(outcome.kind for outcome in outcomes)
    flushes = sum(outcome.interrupted.claimed > 0 for outcome in outcomes)
    unclear = sum(outcome.interrupted.written > 0 for outcome in outcomes)
    lines = [
        "",
        f"{len(outcomes)} rounds in {seconds:.0f} s: "
        + ", ".join(f"{number} x {kind}" for kind, number in sorted(kinds.items())),
        f"requests answered {sum(o.answered for o in outcomes):,}, counted"
        f" {sum(o.counted for o in outcomes):,}, in doubt {sum(o.in_doubt for o in outcomes):,}",
        f"forgotten by Valkey when killed {sum(o.forgotten for o in outcomes)}, in"
        f" {sum(bool(o.forgotten) for o in outcomes)} rounds",
        f"events {outcomes[-1].events:,}, batches sent again {sum(o.resent for o in outcomes)},"
        f" of which stored before {sum(o.found_stored for o in outcomes)}",
        f"rounds that left generations set aside {flushes}, written but not cleared {unclear}",
        f"rounds with something wrong: {sum(bool(o.faults) for o in outcomes)}",
    ]
    return "\n".join([*lines, *(f"WRONG {fault}" for fault in faults)])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**6)))
    parser.add_argument("--only", choices=KINDS, help="kill nothing else")
    options = parser.parse_args()
    for sign in (signal.SIGINT, signal.SIGTERM):  # so that everything is ended and deleted
        signal.signal(sign, lambda number, frame: sys.exit(128 + number))
    kinds = order(options.rounds, options.seed, options.only)
    return 1 if play(kinds=kinds, seed=options.seed) else 0


if __name__ == "__main__":
    sys.exit(main())
