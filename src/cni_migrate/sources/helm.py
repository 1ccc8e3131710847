"""The real `helm`, as a program on PATH: renders a chart, and at the end makes the release that owns its objects.

Helm's own words are shown when it refuses. Nothing here reads or writes the cluster by another way than helm does.
"""

import asyncio
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from cni_migrate.configsections import Cilium
from cni_migrate.core.model.attempts import Result
from cni_migrate.core.model.effects import UpgradeRelease
from cni_migrate.core.preflight.registry import ReleaseFound
from cni_migrate.errors import ConfigError, Halted, UsageError
from cni_migrate.ports import Clock
from cni_migrate.sources.files import Document, parsed

OLDEST: Final = (3, 18)
"""`--take-ownership` came with 3.17 (helm.sh: release notes); older ones than 3.18 were not tried."""

GET: Final = "install Helm 3.18 or newer, or 4, so that `helm` is on PATH: https://helm.sh/docs/intro/install/"

RENDER_SECONDS: Final = 120.0

TRUSTED: Final = ("monitoring.coreos.com/v1",)
"""APIs without which Cilium's chart (1.15 to 1.20, validate.yaml) renders no ServiceMonitor, and refuses the values.

`helm install` asks the cluster, and there they are; `helm template` asks nobody. Nothing else depends on them, and
where they are not served the dry run of preflight says so (`ADMISSION`)."""

UPGRADE_SECONDS: Final = 600.0
"""By its own default helm waits five minutes for each hook; nothing else of an upgrade waits."""

_NOISE: Final = ("WARNING", "level=", "walk.go")
"""How lines begin that helm, or a program around it, says beside what was asked."""

PATIENCE: Final = timedelta(seconds=60)
"""So long another helm's work on the release is waited for."""


@dataclass(frozen=True)
class Release:
    """A release as `helm status` tells it; `status` is empty when there is none."""

    status: str
    revision: int
    description: str


class Helm:
    """One `helm` program, and which cluster it talks to."""

    def __init__(self, program: str, reach: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> None:
        self._program = program
        self._reach = tuple(reach)
        self._environ = dict(environ) if environ is not None else None
        self._version: tuple[int, int] | None = None

    @classmethod
    def find(cls, reach: Sequence[str] = ()) -> "Helm":
        """The `helm` on PATH.

        Raises:
            UsageError: there is none, or it is too old; the message says how to get one.
        """
        program = shutil.which("helm")
        if program is None:
            raise UsageError("cilium.source is chart, and there is no `helm` on PATH", next=GET)
        found = cls(program, reach)
        version = found.version()
        if version < OLDEST:
            raise UsageError(f"{program} is version {'.'.join(map(str, version))}: 3.18 or newer is needed", next=GET)
        return found

    def version(self) -> tuple[int, int]:
        """Its version, asked once.

        Raises:
            UsageError: it does not tell.
        """
        if self._version is None:
            self._version = self._asked_version()
        return self._version

    def _asked_version(self) -> tuple[int, int]:
        said = self._run(["version", "--template", "{{.Version}}"], RENDER_SECONDS)
        found = re.search(r"^v?(\d+)\.(\d+)", said.stdout, re.MULTILINE)
        if said.returncode or found is None:
            raise UsageError(
                f"{self._program} does not tell its version: {_told(said)}",
                next=GET,
            )
        return int(found.group(1)), int(found.group(2))

    def template(self, cilium: Cilium) -> list[Document]:
        """The chart's objects and hooks with the operator's values; tests are left out.

        Raises:
            ConfigError: helm refuses the chart or the values, in its own words; or the chart is of another version.
        """
        found = _version_here(Path(cilium.chart))
        if found and cilium.chart_version not in ("", found):
            raise ConfigError(
                f"cilium.chart_version is {cilium.chart_version}, and {cilium.chart} is version {found}: helm takes a"
                " folder or an archive as it is",
                next="omit cilium.chart_version, or correct cilium.chart",
            )
        command = ["template", cilium.release, *_chart(cilium), *_values(cilium), "--namespace", cilium.namespace]
        served = [part for one in TRUSTED for part in ("--api-versions", one)]
        command += ["--skip-tests", *served, "--kube-version", cilium.kubernetes]
        said = self._run(command, RENDER_SECONDS)
        if said.returncode:
            words = _told(said)
            raise ConfigError(f"helm cannot render {cilium.chart}: {words}", next=_mend(words, cilium))
        return parsed(_without_noise(said.stdout), f"the chart {cilium.chart}")

    def release(self, cilium: Cilium) -> Release:
        """The release as it stands.

        Raises:
            Halted: helm does not answer.
        """
        said = self._run(
            ["status", cilium.release, "--namespace", cilium.namespace, "-o", "json", *self._reach], RENDER_SECONDS
        )
        if said.returncode:
            if "not found" in said.stderr:
                return Release("", 0, "")
            raise Halted(
                f"helm does not tell the state of release {cilium.release}: {_told(said)}",
                next="migrate run",
            )
        found = _json(said, "status", "migrate run")
        info = found.get("info", {})
        return Release(str(info.get("status", "")), int(found.get("version", 0)), str(info.get("description", "")))

    def described(self, cilium: Cilium) -> ReleaseFound | None:
        """The release that is there, with its chart; None when there is none.

        Raises:
            Halted: helm does not answer.
        """
        command = ["get", "metadata", cilium.release, "--namespace", cilium.namespace, "-o", "json", *self._reach]
        said = self._run(command, RENDER_SECONDS)
        if said.returncode:
            if "not found" in said.stderr:
                return None
            raise Halted(f"helm does not tell of release {cilium.release}: {_told(said)}", next="migrate preflight")
        found = _json(said, "get metadata", "migrate preflight")
        return ReleaseFound(str(found.get("chart", "")), str(found.get("status", "")), int(found.get("revision", 0)))

    def upgrade_command(self, cilium: Cilium) -> list[str]:
        """The arguments with which the release comes to own the objects that are there.

        Helm 4 would apply them on the server, where fields have owners, and refuse those that differ from what this
        tool has put there (seen with 4.2.2: "Apply failed with 11 conflicts"). So it does what Helm 3 does, and later
        upgrades go the way of the release's first: helm's `--server-side` is `auto`. 3 has no such flag.

        Raises:
            UsageError: helm does not tell its version.
        """
        way = ["--server-side=false"] if self.version() >= (4, 0) else []
        return [
            "upgrade", "--install", cilium.release, *_chart(cilium), *_values(cilium),
            "--namespace", cilium.namespace, "--take-ownership", *way, *self._reach,
        ]  # fmt: skip

    @property
    def program(self) -> str:
        """Its path."""
        return self._program

    @property
    def environ(self) -> dict[str, str]:
        """Its environment, without what leads helm to another cluster than its arguments (`helm env`: HELM_KUBE…)."""
        given = os.environ if self._environ is None else self._environ
        return {name: value for name, value in given.items() if not name.startswith("HELM_KUBE")}

    def _run(self, arguments: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
        """Its end, within so many seconds, together with whatever it has started.

        Raises:
            UsageError: it does not start, or does not end.
        """
        try:
            process = subprocess.Popen(  # noqa: S603 - the program was found on PATH, arguments are passed as they are
                [self._program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env=self.environ,
                start_new_session=True,
            )
        except OSError as error:
            raise UsageError(f"{self._program} cannot be started: {error.strerror}", next=GET) from None
        with process:
            try:
                out, told = process.communicate(timeout=seconds)
            except BaseException as error:
                _end(process.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    words = f"`helm {arguments[0]}` did not end within {seconds:g} s"
                    raise UsageError(words, next="try it by hand") from None
                raise
        return subprocess.CompletedProcess([self._program, *arguments], process.returncode, out, told)


class HelmReleases:
    """Upgrades the release by the real helm. A helm that somebody else, or a killed run, has started is waited for."""

    patience: float = UPGRADE_SECONDS

    def __init__(self, find: Callable[[], Helm], cilium: Cilium, clock: Clock) -> None:
        """Nothing is started yet.

        Args:
            find: finds helm, when it is needed first.
            cilium: the chart and its release.
            clock: the time.
        """
        self._find = functools.cache(find)
        self._cilium = cilium
        self._clock = clock

    @property
    def _helm(self) -> Helm:
        return self._find()

    def found(self) -> ReleaseFound | None:
        """The release that is there already.

        Raises:
            Halted: helm does not answer.
            UsageError: there is no helm.
        """
        return self._helm.described(self._cilium)

    async def upgrade(self, effect: UpgradeRelease) -> tuple[Result, str]:
        """Make the release be as chart and values say; Helm's words when it refuses."""
        try:
            release = await self._settled()
            command = self._helm.upgrade_command(self._cilium)
        except (Halted, UsageError) as error:
            return "failed", error.message
        if release.status.startswith("pending"):
            return "failed", (
                f"release {effect.release} is {release.status}: another helm is at work, or was killed. If it was:"
                f" kubectl -n {effect.namespace} delete secret sh.helm.release.v1.{effect.release}.v{release.revision}"
            )
        code, words = await self._spawn(command)
        return ("failed", f"helm refuses: {words}") if code else ("applied", "")

    async def _settled(self) -> Release:
        """The release, once no helm is at work on it, or after `PATIENCE`."""
        end = self._clock.now() + PATIENCE
        while True:
            release = self._helm.release(self._cilium)
            if not release.status.startswith("pending") or self._clock.now() >= end:
                return release
            await self._clock.sleep(1.0)

    async def _spawn(self, arguments: Sequence[str]) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            self._helm.program,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=self._helm.environ,
            start_new_session=True,
        )
        try:
            _, told = await asyncio.wait_for(process.communicate(), self.patience)
        except TimeoutError:
            return 1, f"`helm {arguments[0]}` did not end within {self.patience:g} s, and was ended"
        finally:
            if process.returncode is None:
                # Asked first: then it writes down that the release has failed, and nobody takes it for one at work.
                _end(process.pid, signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), 10)
                _end(process.pid, signal.SIGKILL)
        return process.returncode or 0, _words(told.decode(errors="replace"), process.returncode or 0)


def _chart(cilium: Cilium) -> list[str]:
    chart = [cilium.chart]
    if cilium.chart_version:
        chart += ["--version", cilium.chart_version]
    if cilium.chart_repository:
        chart += ["--repo", cilium.chart_repository]
    return chart


def _version_here(chart: Path) -> str:
    """The version of a chart that is a folder or an archive; '' for others, and for what helm will refuse itself."""
    try:
        if chart.is_dir():
            text = (chart / "Chart.yaml").read_text(encoding="utf-8")
        elif chart.is_file():
            with tarfile.open(chart) as archive:
                name = next(one for one in archive.getnames() if one.count("/") == 1 and one.endswith("/Chart.yaml"))
                member = archive.extractfile(name)
                text = member.read().decode() if member else ""
        else:
            return ""
        (about,) = parsed(text, str(chart))
        return str(about.value.get("version", ""))
    except (OSError, EOFError, zlib.error, tarfile.TarError, StopIteration, ValueError, AttributeError, ConfigError):
        return ""


def _values(cilium: Cilium) -> list[str]:
    return [part for file in cilium.values for part in ("--values", str(Path(file)))]


_UNREACHED: Final = ("cannot be reached", "dial tcp", "no such host", "i/o timeout", "tls:", "unauthorized", "denied")
"""What helm says, among the rest, when a chart is somewhere that it cannot get to (Go's words, and registries')."""


def _mend(words: str, cilium: Cilium) -> str:
    """What to do about a chart that helm cannot render."""
    away = cilium.chart_repository or "://" in cilium.chart or not Path(cilium.chart).exists()
    if away and any(one in words.lower() for one in _UNREACHED):
        return (
            "see that `helm pull` gets it from here (network, proxy, `helm registry login`), or name a folder or an"
            " archive in cilium.chart"
        )
    if "kubeVersion" in words:
        return "set cilium.kubernetes to the cluster's version, or name another chart"
    return "correct the chart or its values"


def _told(said: subprocess.CompletedProcess[str]) -> str:
    return _words(said.stderr or said.stdout, said.returncode)


def _words(told: str, code: int) -> str:
    """Helm's last lines, without its warnings."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(_NOISE)] or lines
    return " ".join(kept)[-600:] or (f"exit code {code}" if code >= 0 else f"it was killed by signal {-code}")


def _without_noise(text: str) -> str:
    """What was rendered, with an empty line in the place of each warning: lines keep their numbers."""
    head, rule, rest = text.partition("\n---")
    kept = ["" if line.startswith(_NOISE) else line for line in head.splitlines()]
    return "\n".join(kept) + rule + rest


def _json(said: subprocess.CompletedProcess[str], command: str, again: str) -> dict[str, Any]:
    """What helm answers as JSON, from its first brace on.

    Raises:
        Halted: it is none.
    """
    try:
        found = json.loads(said.stdout[said.stdout.index("{") :])
    except ValueError:
        raise Halted(f"`helm {command}` does not answer in JSON: {_told(said)}", next=again) from None
    return dict(found)


def _end(group: int, number: signal.Signals) -> None:
    """End a program and all that it has started, if any of it is still there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
