"""Thousands of open connections, and ten times the limit offered: what served requests feel of it.

python benchmarks/connections.py [--connections 2000] [--rate 15] [--seconds 15] [--write]

Served requests come at a steady rate, first alone, then with nine times as many that are refused. All
connections stay open throughout. One of both kinds is timed alone before, for what each costs.
"""

import argparse
import asyncio
import resource
import time
from collections.abc import Awaitable, Callable
from statistics import median, quantiles

from _harness import own_database, report, table
from request_path import seed, served

REFUSED_FOR_SERVED = 9
ALONE = 300
ROUNDS = 5


class Connection:
    """One keep-alive connection of one caller."""

    def __init__(self, caller: tuple[int, str], status: int) -> None:
        org_id, token = caller
        self.request = (
            f"GET /orgs/{org_id} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        ).encode()
        self.expected = f"HTTP/1.1 {status}".encode()
        self.busy = asyncio.Lock()

    async def open(self, port: int) -> None:
        self.port = port
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)

    async def ask(self) -> float:
        """Seconds from the sending to the last byte of the answer."""
        async with self.busy:
            start = time.perf_counter()
            if self.reader.at_eof():  # the server closes what was idle for half a minute
                await self.open(self.port)
            self.writer.write(self.request)
            head = await self.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(self.expected), head[:80]
            length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            await self.reader.readexactly(int(length))
            return time.perf_counter() - start


async def steadily(connections: list[Connection], rate: float, seconds: float) -> list[float]:
    """Sends at a rate whatever the answers take, by the connections in turn; what each took."""
    asked = []
    start = time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
        asked.append(asyncio.create_task(connections[number % len(connections)].ask()))
    return list(await asyncio.gather(*asked))


async def one_by_one(connections: list[Connection]) -> float:
    """Seconds a request costs when it is alone."""
    return median([await connections[n % len(connections)].ask() for n in range(ALONE)])


async def measure(port: int, callers: list[tuple[int, str]], options) -> list[list[str]]:
    refused = [
        Connection(callers[-1], 429)
        for _ in range(options.connections * REFUSED_FOR_SERVED // (REFUSED_FOR_SERVED + 1))
    ]
    served_ones = [
        Connection(callers[n % (len(callers) - 1)], 200)
        for n in range(options.connections - len(refused))
    ]
    for connection in [*served_ones, *refused]:
        await connection.open(port)
    for connection in served_ones:
        await connection.ask()  # nobody pays for a cold start
    costs = await in_turn(
        lambda: one_by_one(served_ones[:8]),
        lambda: one_by_one(refused[:8]),
    )
    alone: list[float] = []
    together: list[float] = []
    for _ in range(ROUNDS):
        alone += await steadily(served_ones, options.rate, options.seconds / ROUNDS)
        both = await asyncio.gather(
            steadily(served_ones, options.rate, options.seconds / ROUNDS),
            steadily(refused, options.rate * REFUSED_FOR_SERVED, options.seconds / ROUNDS),
        )
        together += both[0]
    rows = [
        ["served, alone", *times(alone), ""],
        ["served, beside nine times as many refused", *times(together), ""],
    ]
    cost = median(b / a for a, b in costs)
    return [*rows, ["cost of a refused one, of a served one", "", "", f"{cost:.2f} (goal ≤ 0.50)"]]


async def in_turn(*ways: Callable[[], Awaitable[float]]) -> list[list[float]]:
    return [[await way() for way in ways] for _ in range(ROUNDS)]


def times(seconds: list[float]) -> tuple[str, str]:
    return f"{median(seconds) * 1e3:.1f} ms", f"{quantiles(seconds, n=100)[98] * 1e3:.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=2_000)
    parser.add_argument("--rate", type=float, default=15.0)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with own_database("connections"):
        callers = seed(201)
        with served(options.threads) as port:
            rows = asyncio.run(measure(port, callers, options))
    report(
        f"{options.connections:,} open connections",
        f"`GET /orgs/{{id}}`, granian with {options.threads} threads on one core. Served requests at"
        f" {options.rate:g} a second, first alone, then with nine times as many that are over their"
        f" organization's limit; {ROUNDS} rounds that take turns.\n\n"
        + table(["requests", "median", "99th percentile", "ratio"], rows),
    )


if __name__ == "__main__":
    main()
