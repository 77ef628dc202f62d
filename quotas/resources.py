"""What is counted and limited. Pure."""

from enum import StrEnum


class Resource(StrEnum):
    """A gauge is a level that lives through periods; a meter counts up and restarts each period."""

    MODULES = "modules"
    VERSIONS = "versions"
    STORAGE = "storage"
    COMPILE_JOBS = "compile_jobs"
    API_REQUESTS = "api_requests"


GAUGES = frozenset({Resource.MODULES, Resource.VERSIONS, Resource.STORAGE})
METERS = frozenset({Resource.COMPILE_JOBS, Resource.API_REQUESTS})
# Counted in these units.
UNITS: dict[Resource, str] = {
    Resource.MODULES: "modules",
    Resource.VERSIONS: "versions of a module",
    Resource.STORAGE: "bytes",
    Resource.COMPILE_JOBS: "jobs a month",
    Resource.API_REQUESTS: "requests an hour",
}
# The names that limits and usage have in the API.
LIMIT_FIELDS: dict[Resource, str] = {
    Resource.MODULES: "max_modules",
    Resource.VERSIONS: "max_versions_per_module",
    Resource.STORAGE: "max_storage_bytes",
    Resource.COMPILE_JOBS: "max_compile_jobs_per_month",
    Resource.API_REQUESTS: "api_rate_limit_per_hour",
}
USAGE_FIELDS: dict[Resource, str] = {
    Resource.MODULES: "modules_count",
    Resource.VERSIONS: "versions_count",
    Resource.STORAGE: "storage_bytes",
    Resource.COMPILE_JOBS: "compile_jobs_count",
    Resource.API_REQUESTS: "api_requests_count",
}
