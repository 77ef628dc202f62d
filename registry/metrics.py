"""What operators watch of the registry."""

from prometheus_client import Counter, Histogram

JOBS = Counter(
    "spoke_compile_jobs_total",
    "Compile jobs that ended, by outcome and fault.",
    ["outcome", "fault"],
)
SECONDS = Histogram(
    "spoke_compile_seconds",
    "Seconds that a worker spent on a compile job, by language.",
    ["language"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40),
)
RESCUED = Counter("spoke_compile_jobs_rescued_total", "Compile jobs found lost, by how.", ["how"])
