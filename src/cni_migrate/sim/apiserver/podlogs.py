"""`pods/log`: lines from whoever plays the kubelets, cut as the query says.

The world registers a `LogSource`. Without one, or when it raises, the answer is that of an API server that cannot
reach the kubelet.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cni_migrate.sim.apiserver import status
from cni_migrate.sim.client import ApiError, Object

FOLLOW_EVERY = 1.0
"""How often, in seconds of loop time, a followed log is asked for new lines."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line a container has written."""

    time: datetime
    text: str


LogSource = Callable[[Object, str, bool], Awaitable[Sequence[LogLine]]]
"""Called with the pod, the container's name and whether the previous run is meant; all lines so far, oldest first.

It raises `ApiError` (see `unreachable`) when the node's kubelet does not answer.
"""


def unreachable(pod: Object, container: str, port: int = 10250) -> ApiError:
    """What the API server says when it cannot reach the pod's kubelet."""
    address = pod.get("status", {}).get("hostIP") or pod["spec"].get("nodeName", "")
    meta = pod["metadata"]
    url = f"https://{address}:{port}/containerLogs/{meta['namespace']}/{meta['name']}/{container}"
    message = f'Get "{url}": dial tcp {address}:{port}: connect: connection refused'
    return ApiError(500, "InternalError", f"Internal error occurred: {message}")


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The query of a log request."""

    container: str = ""
    previous: bool = False
    follow: bool = False
    timestamps: bool = False
    tail: int | None = None
    limit: int | None = None
    since: datetime | None = None


def _check(options: LogOptions, name: str) -> None:
    low = status.FieldError("Invalid", "tailLines", options.tail, "must be greater than or equal to 0")
    few = status.FieldError("Invalid", "limitBytes", options.limit, "must be greater than 0")
    wrong = [low] if options.tail is not None and options.tail < 0 else []
    wrong += [few] if options.limit is not None and options.limit < 1 else []
    if wrong:
        causes = [{"reason": "FieldValueInvalid", "message": item.message, "field": item.field} for item in wrong]
        message = f'PodLogOptions "{name}" is invalid: {wrong[0].field}: {wrong[0].message}'
        raise ApiError(422, "Invalid", message, {"name": name, "kind": "PodLogOptions", "causes": causes})


def options_of(query: Mapping[str, str], now: datetime, name: str) -> LogOptions:
    """Read the query for a pod's log; 400 for a number or time that is none, 422 for one out of range."""
    try:
        since = None
        if text := query.get("sinceTime"):
            since = datetime.fromisoformat(text)
        elif text := query.get("sinceSeconds"):
            since = now - timedelta(seconds=int(text))
        options = LogOptions(
            container=query.get("container", ""),
            previous=query.get("previous") in ("true", "1"),
            follow=query.get("follow") in ("true", "1"),
            timestamps=query.get("timestamps") in ("true", "1"),
            tail=int(query["tailLines"]) if query.get("tailLines") else None,
            limit=int(query["limitBytes"]) if query.get("limitBytes") else None,
            since=since,
        )
    except ValueError:
        raise status.bad_request("strconv.ParseInt: parsing the log's options: invalid syntax") from None
    _check(options, name)
    return options


def container_of(pod: Object, options: LogOptions) -> str:
    """The container that is meant; 400 when it is unclear or unknown, or when the pod has no node yet."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    names = [item["name"] for field in ("initContainers", "containers") for item in spec.get(field) or ()]
    main = [item["name"] for item in spec["containers"]]
    if not options.container and len(main) > 1:
        message = f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
        raise status.bad_request(message)
    container = options.container or main[0]
    if container not in names:
        raise status.bad_request(f"container {container} is not valid for pod {name}")
    return container


def rendered(lines: Sequence[LogLine], options: LogOptions) -> bytes:
    """The lines the options leave, as bytes."""
    chosen = lines if options.since is None else [line for line in lines if line.time >= options.since]
    if options.tail is not None:
        chosen = chosen[max(0, len(chosen) - options.tail) :]
    return _text(chosen, options)[: options.limit]


def _text(lines: Sequence[LogLine], options: LogOptions) -> bytes:
    stamp = "%Y-%m-%dT%H:%M:%S.%f000Z "
    return b"".join(
        f"{line.time.strftime(stamp) if options.timestamps else ''}{line.text}\n".encode() for line in lines
    )


async def follow(
    source: LogSource, current: Callable[[], Object | None], container: str, options: LogOptions
) -> AsyncIterator[bytes]:
    """The log so far, then new lines until the pod has ended or gone."""
    pod = current()
    if pod is None:
        return
    lines = await source(pod, container, options.previous)
    yield rendered(lines, options)
    seen = len(lines)
    while (pod := current()) is not None and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
        await asyncio.sleep(FOLLOW_EVERY)
        lines = await source(pod, container, options.previous)
        if len(lines) > seen:
            yield _text(lines[seen:], options)
        seen = len(lines)
