"""One request with patience: what is tried again, for how long, and what a refusal means.

Everything that this program sends is safe to repeat: reads, PUTs and patches that carry a resourceVersion, deletions
and evictions that carry a uid, and creations whose 409 is answered by reading back (`Answer.unsure` tells when).

Sources: the API's status codes (kubernetes "API conventions", HTTP status codes), priority-and-fairness.go (429 without
a JSON body), eviction.go (429 of a budget, 500 for two budgets).
"""

import asyncio
import contextlib
import json
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Final

from kr8s.asyncio import Api

from cni_migrate.core.model import names
from cni_migrate.errors import ClusterUnreachable, RightsMissing, Unauthorized
from cni_migrate.kube import paths
from cni_migrate.kube.transport import Answer, Hook, NoAnswer, Wire
from cni_migrate.ports import Clock

FIELD_MANAGER: Final = names.FIELD_MANAGER

PATIENCE: Final = 60.0
"""Seconds for which a request is tried again. One try is shorter than the lock's slack; the engine cancels the rest."""

REPEATS_OF_500: Final = 3
"""A 500 may be a hiccup (etcd changes its leader) or final (a broken webhook): so often it is tried again."""

RECOVERY: Final = 30.0
"""Seconds after a failure in which a denial is not believed: kube-apiserver answers before it has read all bindings."""

BUDGET: Final = "DisruptionBudget"
TWO_BUDGETS: Final = "more than one PodDisruptionBudget"

_DENIED = re.compile(r'User "[^"]*" cannot ')
"""How every authorizer's denial reads (apiserver responsewriters/errors.go); admission and quota read otherwise."""


class Backoff:
    """Growing pauses with jitter: each is 50 to 100 % of the next power of two."""

    def __init__(self, rng: random.Random, first: float = 0.25, most: float = 5.0) -> None:
        self._rng = rng
        self._first = first
        self._most = most
        self._next = first

    def pause(self, at_least: float = 0.0) -> float:
        """The next pause, in seconds."""
        pause, self._next = self._next, min(self._most, self._next * 2)
        return max(at_least, pause * self._rng.uniform(0.5, 1.0), at_least * self._rng.uniform(1.0, 1.1))

    def reset(self) -> None:
        """Start again from the first pause."""
        self._next = self._first


class Client:
    """The API server, as the rest of this package talks to it."""

    def __init__(
        self,
        api: Api,
        clock: Clock,
        rng: random.Random | None = None,
        *,
        timeout: float = 10.0,
        patience: float = PATIENCE,
        on_request: Hook | None = None,
    ) -> None:
        """A client on one kr8s `Api`.

        Args:
            api: made by `connect`, or in process.
            clock: sleeps between tries.
            rng: for the jitter.
            timeout: how long one try may take (`config.deadlines.request`).
            patience: for how long a request is tried again.
            on_request: told of every try.
        """
        self._wire = Wire(api, on_request)
        self._clock = clock
        self._rng = rng or random.Random()
        self._timeout = timeout
        self._patience = patience
        self._failed_at = float("-inf")
        self._logins = 0
        self._login = asyncio.Lock()

    @property
    def context(self) -> str:
        """The kubeconfig's name for this cluster and user; empty in a pod, and in process."""
        return self._wire.context

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self._wire.server

    @property
    def recovering(self) -> bool:
        """Whether the API server gave no answer, or failed, a short while ago."""
        return asyncio.get_running_loop().time() - self._failed_at < RECOVERY

    def note_failure(self) -> None:
        """It gave no answer just now, or failed."""
        self._failed_at = asyncio.get_running_loop().time()

    def backoff(self, first: float = 0.25, most: float = 5.0) -> Backoff:
        """Pauses that share this client's jitter."""
        return Backoff(self._rng, first, most)

    def between(self, least: int, most: int) -> int:
        """A random number, for spreading what would otherwise happen all at once."""
        return self._rng.randint(least, most)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        deadline: float | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - per try
        served: bool = False,
    ) -> Answer:
        """Send a request, again where that may help, and return the answer, also a refusal such as 404 or 409.

        Args:
            method: the HTTP method.
            path: from `paths.path`.
            params: the query.
            body: JSON.
            content_type: the body's; merge-patches have their own.
            accept: what to answer with.
            deadline: seconds for all tries together; 0: one try, whose answer stands.
            timeout: seconds for one try.
            served: every API server serves this: a 404 without a reason is a proxy's, and tried again.

        Raises:
            ClusterUnreachable: no answer, or none but overload, until the deadline.
            Unauthorized: the credentials are not accepted, also not after logging in again.
            RightsMissing: the API server's authorizer denies it.
        """
        query = dict(params or {})
        if method in ("POST", "PUT", "PATCH"):
            query.setdefault("fieldManager", FIELD_MANAGER)
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        attempt = _Attempt(self, method, path, self._patience if deadline is None else deadline, served=served)
        unsure = False
        while True:
            logins = self._logins
            try:
                answer = await self._wire.send(
                    method, path, timeout=attempt.cut(timeout or self._timeout), params=query, content=content,
                    content_type=content_type, accept=accept,
                )  # fmt: skip
            except NoAnswer as error:
                unsure |= error.sent
                await self._clock.sleep(attempt.after_none(error))
                continue
            if answer.status == 401 and not answer.by_admission:
                await self._log_in_again(logins, attempt, answer)
                continue
            pause = attempt.after(answer, method)
            if pause is None:
                denied(answer, method, path)
                return answer._replace(unsure=unsure)
            unsure |= answer.status != 429
            await self._clock.sleep(pause)

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, *, params: Mapping[str, str], silence: float
    ) -> AsyncGenerator[tuple[Answer, AsyncIterator[bytes]]]:
        """A GET that is read line by line; one try, and one more with new credentials.

        Raises:
            NoAnswer: there was none, or it was cut.
            Unauthorized: the credentials are not accepted, also not after logging in again.
            RightsMissing: the API server's authorizer denies it.
        """
        attempt = _Attempt(self, "GET", path, 0)
        for _ in range(2):
            logins = self._logins
            stream = self._wire.stream(path, timeout=self._timeout, silence=silence, params=params)
            try:
                async with stream as (answer, lines):
                    if answer.status != 401:
                        self._doubt(answer)
                        denied(answer, "GET", path, watch="watch" in params)
                        yield answer, lines
                        return
            except NoAnswer as error:
                if not isinstance(error, _Unbelieved):
                    self.note_failure()
                raise
            await self._log_in_again(logins, attempt, answer)

    def _doubt(self, answer: Answer) -> None:
        """Raise for a denial that may not be meant: the caller opens another stream after a pause."""
        if self.recovering and denial(answer, "GET"):
            raise _Unbelieved(answer.message)

    async def _log_in_again(self, logins: int, attempt: "_Attempt", answer: Answer) -> None:
        """Renew the credentials once for this request, and once for all requests that were refused together."""
        if attempt.renewed:
            raise self._unauthorized(answer.message)
        attempt.renewed = True
        async with self._login:
            if self._logins != logins:
                return
            try:
                await self._wire.renew()
            except NoAnswer as error:
                raise self._unauthorized(f"they cannot be renewed: {error}") from error
            self._logins += 1

    def _unauthorized(self, why: str) -> Unauthorized:
        return Unauthorized(
            f"the API server {self.server} does not accept the credentials: {why}",
            next="log in to the cluster again (`kubectl auth whoami` shows who you are), then type the same command",
        )


class _Unbelieved(NoAnswer):
    """A denial by an API server that is just coming up."""


class _Attempt:
    """The tries of one request: when they end, and what to do after each."""

    def __init__(self, client: Client, method: str, path: str, patience: float, *, served: bool = False) -> None:
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._what = f"{method} {path}"
        self._patience = patience
        self._served = served
        self._end = self._loop.time() + patience
        self._backoff = client.backoff()
        self._of_500 = 0
        self.renewed = False

    def cut(self, timeout: float) -> float:
        """The time for the next try: never past the deadline, unless there is one try only."""
        return min(timeout, max(0.1, self._end - self._loop.time())) if self._patience else timeout

    def after_none(self, error: NoAnswer) -> float:
        """The pause after a try without an answer."""
        self._client.note_failure()
        if error.final:
            raise self._unreachable(str(error)) from error
        return self._pause(str(error), None, error)

    def after(self, answer: Answer, method: str) -> float | None:
        """The pause before the next try, or None: this answer stands."""
        status = answer.status
        if answer.by_admission:
            status = min(status, 500)  # its program's hiccup, not the API server's
        if status in (502, 503, 504):
            self._client.note_failure()
        if not self._patience:
            return None
        if self._client.recovering and denial(answer, method):
            return self._pause(answer.message, None)
        if status == 500:
            self._of_500 += 1
            final = self._of_500 > REPEATS_OF_500 or TWO_BUDGETS in answer.message
            return None if final else self._pause(answer.message, answer.retry_after)
        overload = status == 429 and answer.cause(BUDGET) is None and not answer.by_admission
        away = status == 404 and self._served and not answer.reason
        if status in (502, 503, 504) or overload or away:
            return self._pause(answer.message, answer.retry_after)
        return None

    def _pause(self, last: str, asked: float | None, error: NoAnswer | None = None) -> float:
        pause = self._backoff.pause(asked or 0.0)
        if self._loop.time() + pause >= self._end:
            raise self._unreachable(last) from error
        return pause

    def _unreachable(self, last: str) -> ClusterUnreachable:
        tried = f"tried for {self._patience:.0f} s; last error: " if self._patience else ""
        return unreachable(self._client.server, self._what, tried + last)


def unreachable(server: str, what: str, why: str) -> ClusterUnreachable:
    """The error for an API server that gives no answer."""
    return ClusterUnreachable(
        f"the API server {server} does not answer {what}: {why}",
        next="check that it is up (`kubectl get --raw /readyz`), then type the same command",
    )


def denial(answer: Answer, method: str) -> bool:
    """Whether an authorizer denied a request.

    A 403 of admission (Pod Security, quota, a terminating namespace) is an answer about the object, not about rights.
    """
    if answer.by_admission:
        return False
    return answer.status == 403 and (method == "GET" or not answer.reason or bool(_DENIED.search(answer.message)))


def denied(answer: Answer, method: str, path: str, *, watch: bool = False) -> None:
    """Raise when an authorizer denied a request, see `denial`.

    Raises:
        RightsMissing: names verb, resource and namespace, and the rule that is needed.
    """
    if not denial(answer, method):
        return
    needed = paths.right(method, path, watch=watch)
    raise RightsMissing(
        f"the API server does not allow `{needed}`: {answer.message}",
        next=f"grant the rule {needed.rule}"
        + (f" in namespace {needed.namespace}" if needed.namespace else " in a ClusterRole")
        + " to this user, then type the same command",
    )
