"""The hourly limiter beside a fixed window, GCRA and a sliding-window counter.

Evaluations a second of the script alone (pipelined on one connection, so that the server is what is
measured), bytes an organization, and the most requests that pass within any 60 minutes at a limit of
1,000 when they come when it hurts. With --write the table goes into RESULTS.md.
"""

import os
import random
from bisect import bisect_left
from statistics import median

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "spoke.settings")
os.environ.setdefault("LOG_LEVEL", "ERROR")
import django

django.setup()

from _harness import interleaved, ratio, report, table  # noqa: E402
from django.conf import settings  # noqa: E402
from redis import Redis  # noqa: E402

from quotas.services import valkey  # noqa: E402
from spoke.core.valkey import Script  # noqa: E402

LIMIT, ORGANIZATIONS, CALLS, DEPTH = 1_000, 1_000, 20_000, 500
HOUR = 3_600_000_000
# ARGV as ours: limit, organization, microseconds, count. Each returns {allowed, ...}.
FIXED_WINDOW = """
local window = math.floor(tonumber(ARGV[3]) / 3600000000)
local key = KEYS[1] .. window
local used = tonumber(redis.call('GET', key) or '0')
if used >= tonumber(ARGV[1]) then return {0} end
if redis.call('INCR', key) == 1 then redis.call('PEXPIRE', key, 3600000) end
return {1}
"""
GCRA = """
local now, step = tonumber(ARGV[3]), 3600000000 / tonumber(ARGV[1])
local at = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
if at - now > 3600000000 - step then return {0} end
redis.call('SET', KEYS[1], string.format('%.0f', at + step), 'PX', 3600000)
return {1}
"""
SLIDING_COUNTER = """
local now = tonumber(ARGV[3])
local window = math.floor(now / 3600000000)
local before = tonumber(redis.call('GET', KEYS[1] .. (window - 1)) or '0')
local used = tonumber(redis.call('GET', KEYS[1] .. window) or '0')
local share = 1 - (now % 3600000000) / 3600000000
if before * share + used >= tonumber(ARGV[1]) then return {0} end
if redis.call('INCR', KEYS[1] .. window) == 1 then
  redis.call('PEXPIRE', KEYS[1] .. window, 7200000)
end
return {1}
"""


def script(source: str) -> Script:
    import hashlib

    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


SCRIPTS = {
    "ours, with usage counted": valkey.script("rate_limit"),
    "ours, limit alone": valkey.script("rate_limit"),
    "fixed window": script(FIXED_WINDOW),
    "GCRA, burst = limit": script(GCRA),
    "sliding-window counter": script(SLIDING_COUNTER),
}


def main() -> None:
    client = Redis.from_url(settings.REDIS_URL)
    digests = {name: client.script_load(code.source) for name, code in SCRIPTS.items()}
    mark = f"bench:{os.getpid()}"
    try:
        measure(client, digests, mark)
    finally:
        for key in client.scan_iter(f"{mark}:*", count=1_000):
            client.delete(key)


def measure(client: "Redis", digests: dict[str, str], mark: str) -> None:
    def keys_of(name: str, org: int) -> list[str]:
        keys = [f"{mark}:{digests[name]}:{name}:{org}:"]
        return [*keys, f"{mark}:requests"] if "usage" in name else keys

    def run(name: str) -> int:
        for start in range(0, CALLS, DEPTH):
            pipeline = client.pipeline(transaction=False)
            for call in range(start, start + DEPTH):
                org = call % ORGANIZATIONS
                keys = keys_of(name, org)
                # Time passes: a request of each organization every ten seconds.
                moment = 1_790_000_000_000_000 + call // ORGANIZATIONS * 10_000_000
                pipeline.evalsha(digests[name], len(keys), *keys, 10**6, org, moment, "1")
            pipeline.execute()
        return CALLS

    rates = interleaved({name: lambda name=name: run(name) for name in SCRIPTS})
    rows = []
    for name in SCRIPTS:
        size = median(
            sum(client.memory_usage(key) or 0 for key in client.keys(f"{keys_of(name, org)[0]}*"))
            for org in range(5)
        )
        most = most_in_an_hour(client, digests[name], lambda org, name=name: keys_of(name, org))
        share = "" if name == "fixed window" else f"{ratio(rates, name, 'fixed window'):.2f}"
        rows.append([name, f"{median(rates[name]):,.0f}", share, f"{size:,.0f}", f"{most:,}"])
    rows.append(["goal for ours", "", "≥ 0.60", "≤ 1,024", "1,000"])
    report(
        "Hourly limiter",
        "Evaluations a second, pipelined on one connection; medians of 7 interleaved rounds.\n\n"
        + table(["limiter", "evals/s", "of a fixed window", "bytes/org", "most in any hour"], rows),
    )


def most_in_an_hour(client: "Redis", digest: str, keys_of) -> int:
    """The worst of some arrivals made to hurt: bursts around the turns of hours and minutes."""
    chance = random.Random(7)
    worst = 0
    for trial in range(6):
        keys = keys_of(10_000 + trial)
        base = 1_790_000_000_000_000 // HOUR * HOUR
        offset = [0, 59_999_999, 30_000_000, HOUR - 1, HOUR // 2, chance.randrange(HOUR)][trial]
        arrivals = sorted(
            base + offset + at + chance.randrange(1_000_000)
            for at in (0, HOUR - 2_000_000, HOUR + 1_000, HOUR + 61_000_000, HOUR * 3 // 2)
            for _ in range(1_500)
        )
        passed = []
        for start in range(0, len(arrivals), DEPTH):
            part = arrivals[start : start + DEPTH]
            pipeline = client.pipeline(transaction=False)
            for at in part:
                pipeline.evalsha(digest, len(keys), *keys, LIMIT, 10_000 + trial, at, "1")
            passed += [at for at, answer in zip(part, pipeline.execute(), strict=True) if answer[0]]
        for position, at in enumerate(passed):
            worst = max(worst, bisect_left(passed, at + HOUR) - position)
    return worst


if __name__ == "__main__":
    main()
