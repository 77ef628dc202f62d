"""HTTP to the API: signed in, repeated safely, and each refusal an error of its own."""

import json as jsonlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import SEEK_END
from typing import IO, Any, Self, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

import requests
import tenacity

from spoke.cli import __version__
from spoke.cli.config import trusted_certificates
from spoke.cli.errors import CliError, Refused, Unreachable
from spoke.cli.output import duration

T = TypeVar("T")
Params = Sequence[tuple[str, str]]

ATTEMPTS = 5
LONGEST_WAIT = 60.0  # seconds; who is asked to wait longer decides that for themselves
TIMEOUT = (10.0, 120.0)  # seconds to connect, and between two bytes
RETRIED = frozenset({429, 502, 503, 504})
# Refusals that only say that somebody else was there at the same moment.
RETRIED_CODES = frozenset({"idempotency_key_in_use", "module_changed"})
CHUNK = 64 * 1024
PAGE = "200"
ACCOUNT_HEADER = "X-Spoke-Organization"
BACKOFF = tenacity.wait_exponential_jitter(multiplier=0.5, max=10, jitter=0.5)


class Transient(Exception):
    """Worth another attempt, after `retry_after` seconds where the server said so."""

    def __init__(self, error: CliError, retry_after: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.retry_after = retry_after


class Bearer(requests.auth.AuthBase):
    """The token; as an auth of its own, so that no .netrc takes its place."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


@dataclass(frozen=True)
class Answer:
    """A JSON answer and what its headers said."""

    status: int
    body: Any
    retry_after: float | None


class Upload:
    """A file to stream as a body, from its start at each attempt; `progress` hears how far it is."""

    def __init__(self, file: IO[bytes], content_type: str, progress: Callable[[int], None]) -> None:
        self.content_type = content_type
        self._file = file
        self._size = file.seek(0, SEEK_END)
        self._progress = progress

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)

    def read(self, amount: int = -1) -> bytes:
        data = self._file.read(amount)
        self._progress(self._file.tell())
        return data

    def rewind(self) -> None:
        self._file.seek(0)
        self._progress(0)


class Api:
    """One server, called with one token. `tell` hears of each new attempt.

    Reading public modules counts against the limit of `account`, an organization of the caller's.
    """

    def __init__(
        self, api_url: str, token: str, tell: Callable[[str], None], *, account: str = ""
    ) -> None:
        self.api_url = api_url
        self._tell = tell
        self._session = requests.Session()
        self._session.auth = Bearer(token)
        self._session.headers["User-Agent"] = f"spoke-cli/{__version__}"
        self._session.headers["Accept"] = "application/json"
        # requests itself looks at REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE, which win.
        self._session.verify = trusted_certificates() or True
        if account:
            self._session.headers[ACCOUNT_HEADER] = account

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._session.close()

    def get(self, path: str, params: Params = ()) -> Any:
        """The JSON of a resource."""
        return self.call("GET", path, params=params).body

    def pages(self, path: str, params: Params = ()) -> list[Any]:
        """Every row of a list, page after page."""
        rows: list[Any] = []
        following: Params | None = [*params, ("limit", PAGE)]
        while following is not None:
            page = self.get(path, following)
            rows += page["results"]
            # Of the address only its query: the server may know itself by another name than we do.
            following = parse_qsl(urlsplit(page["next"]).query) if page.get("next") else None
        return rows

    def post(
        self, path: str, *, json: Any = None, params: Params = (), upload: Upload | None = None
    ) -> Answer:
        """Sends something once: every attempt carries the same Idempotency-Key."""
        key = str(uuid.uuid4())
        return self.call("POST", path, params=params, json=json, upload=upload, key=key)

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Params = (),
        json: Any = None,
        upload: Upload | None = None,
        key: str | None = None,
    ) -> Answer:
        """Calls the API, again where that may help. Raises Refused or Unreachable."""
        headers = {"Idempotency-Key": key} if key else {}
        body: Any = None
        if json is not None:
            body = jsonlib.dumps(json).encode()
            headers["Content-Type"] = "application/json"
        elif upload is not None:
            body = upload
            headers["Content-Type"] = upload.content_type

        def attempt() -> Answer:
            if upload is not None:
                upload.rewind()
            with self._send(method, path, params, data=body, headers=headers) as response:
                return _answer(response)

        return self._repeated(attempt)

    def download(
        self,
        path: str,
        target: IO[bytes],
        *,
        params: Params = (),
        progress: Callable[[int, int | None], None],
    ) -> None:
        """Writes a file of the API's to `target`; `progress` hears the bytes so far, and of how many.

        Raises as `call` does.
        """

        def attempt() -> None:
            target.seek(0)
            target.truncate()
            # Where files lie in a bucket the answer leads there; requests keeps the token back.
            with self._send(
                "GET", path, params, stream=True, allow_redirects=True, headers={"Accept": "*/*"}
            ) as response:
                length = response.headers.get("Content-Length", "")
                total = int(length) if length.isdigit() else None
                for chunk in response.iter_content(CHUNK):
                    target.write(chunk)
                    progress(target.tell(), total)
                if total is not None and "Content-Encoding" not in response.headers:
                    _whole(target.tell(), total)

        self._repeated(attempt)

    def _send(self, method: str, path: str, params: Params, **options: Any) -> requests.Response:
        options.setdefault("allow_redirects", False)
        response = self._session.request(
            method, f"{self.api_url}{path}", params=list(params), timeout=TIMEOUT, **options
        )
        if response.status_code >= 300:
            with response:
                raise _failure(response)
        return response

    def _repeated(self, attempt: Callable[[], T]) -> T:
        def guarded() -> T:
            try:
                return attempt()
            except requests.exceptions.SSLError as exc:
                raise Unreachable(
                    f"{self.api_url} has no valid certificate: {reason(exc)}"
                ) from exc
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
            ) as exc:
                lost = Unreachable(f"No answer from {self.api_url}: {reason(exc)}.")
                raise Transient(lost) from exc
            except requests.RequestException as exc:
                raise Unreachable(f"{self.api_url} cannot be called: {reason(exc)}.") from exc

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Transient),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=_pause,
            before_sleep=self._announce,
            reraise=True,
        )
        try:
            return retrying(guarded)
        except Transient as last:
            raise last.error from last

    def _announce(self, state: tenacity.RetryCallState) -> None:
        seconds = state.next_action.sleep if state.next_action else 0.0
        failure = state.outcome.exception() if state.outcome else None
        self._tell(
            f"{failure} Trying again in {seconds:.0f} s"
            f" (attempt {state.attempt_number + 1} of {ATTEMPTS})."
        )


def address(*segments: str) -> str:
    """A path of the API's."""
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)


def reason(exc: BaseException) -> str:
    """What the operating system says below a network error, or else the error itself."""
    seen: list[BaseException] = [exc]
    for error in seen:
        inner = [error.__cause__, error.__context__, getattr(error, "reason", None), *error.args]
        seen += [one for one in inner if isinstance(one, BaseException) and one not in seen]
    for error in reversed(seen):
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
    return str(seen[-1])


def _pause(state: tenacity.RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome else None
    if isinstance(failure, Transient) and failure.retry_after is not None:
        return failure.retry_after
    return BACKOFF(state)


def _whole(got: int, expected: int) -> None:
    if got != expected:
        raise Transient(Unreachable(f"The answer broke off after {got} of {expected} bytes."))


def _answer(response: requests.Response) -> Answer:
    try:
        body = response.json() if response.content else None
    except requests.exceptions.JSONDecodeError as exc:
        raise Unreachable(
            f"{response.url} does not answer as Spoke does; is this its API?"
        ) from exc
    return Answer(response.status_code, body, _retry_after(response.headers))


def _failure(response: requests.Response) -> Exception:
    if response.is_redirect:
        return Unreachable(
            f"The API has moved to {response.headers['Location']}: use that address."
        )
    wait = _retry_after(response.headers)
    error = refusal(response, wait)
    again = response.status_code in RETRIED or error.code in RETRIED_CODES
    if again and (wait is None or wait <= LONGEST_WAIT):
        return Transient(error, wait)
    return error


def refusal(response: requests.Response, wait: float | None) -> Refused:
    """The error that an answer stands for."""
    try:
        problem = response.json()
    except requests.exceptions.JSONDecodeError:
        problem = None
    if not isinstance(problem, Mapping):
        problem = {
            "detail": f"{response.url} answers {response.status_code} {response.reason}.",
            "request_id": response.headers.get("X-Request-ID"),
        }
    hint = ""
    if response.status_code == 401:
        hint = "Sign in with `spoke login`, or set SPOKE_TOKEN."
    elif wait is not None:
        hint = f"Try again in {duration(round(wait))}."
    return Refused(response.status_code, problem, hint=hint)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from either form that the header may have; None without a sensible one."""
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at.astimezone(UTC) - datetime.now(UTC)).total_seconds())
