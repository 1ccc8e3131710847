"""What is put together from configuration and cluster before anything is driven: plan, manifests, reader of reports.

The command line, the tests and the lab build a driver from the same pieces.
"""

import functools
import os
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from cni_migrate import resources
from cni_migrate.config import Config
from cni_migrate.configfile import Loaded
from cni_migrate.configsections import Cilium
from cni_migrate.core.decision.plan import TABLES, make_plan
from cni_migrate.core.model.objects import Snapshot
from cni_migrate.core.render.foreign import Foreign, ForeignError
from cni_migrate.core.render.foreign import read as read_foreign
from cni_migrate.core.render.manifests import TEMPLATES, Manifests, Payload
from cni_migrate.core.render.suitability import problems as foreign_problems
from cni_migrate.core.steps.view import Plan
from cni_migrate.errors import ConfigError
from cni_migrate.identities import agent as identities_agent
from cni_migrate.knet import agent as knet_agent
from cni_migrate.knet.reader import LogProber, lines_needed
from cni_migrate.kube.logs import KubeLogs
from cni_migrate.kube.pages import KubePages
from cni_migrate.kube.request import Client
from cni_migrate.ports import Clock
from cni_migrate.sources.files import check_values, read_documents
from cni_migrate.sources.helm import Helm, HelmReleases


def prober_for(client: Client, clock: Clock, config: Config) -> LogProber:
    """The reader of the agents' reports, by the way that is configured."""
    tail = KubePages(client).tail if config.knet.reader == "proxy" else KubeLogs(client, clock).tail
    return LogProber(tail, clock, lines=lines_needed(config))


def plan_for(config: Config, seen: Snapshot | None) -> Plan:
    """The plan for a configuration, and for the Canal that is there."""
    return make_plan(config, manifests_for(config, seen), {name: resources.read("states", name) for name in TABLES})


def manifests_for(config: Config, seen: Snapshot | None) -> Manifests:
    """The manifests for a configuration."""
    templates = {name: resources.read("templates", name) for name in TEMPLATES}
    found = seen.cilium_config if seen is not None else None
    facts = Payload(
        host_image(config, seen),
        _modules(knet_agent),
        _modules(identities_agent),
        found.data if found is not None else {},
        cleaning_image=cleaning_image(config, seen),
    )
    return Manifests(templates, config, facts, foreign=foreign_for(config))


def _modules(package: ModuleType) -> dict[str, str]:
    """The texts of a package that runs in the cluster, by file name."""
    (folder,) = package.__path__
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(Path(folder).glob("*.py"))}


def completed(loaded: Loaded, file: Path | None) -> Loaded:
    """The configuration with what the operator's own Cilium says of itself, where `cilium.source` names one.

    Files are looked for beside the configuration file that names them. What was chosen and says otherwise is refused,
    and so is a Cilium that nodes cannot be moved to one by one.

    Raises:
        ConfigError: naming what contradicts, and what to write where.
        UsageError: `helm` is needed and not there.
    """
    if loaded.config.cilium.source in _NOTHING_TO_READ:
        return loaded
    config = _located(loaded, file)
    foreign = foreign_for(config)
    assert foreign is not None
    origin = dict(loaded.origin)
    found = dict(foreign.facts())
    against = []
    for key, value in found.items():
        path = f"cilium.{key}"
        chosen = getattr(config.cilium, key)
        given = origin.get(path, "default")
        if given == "default" or given.startswith("profile ") or chosen == value:
            origin[path] = f"cilium.{config.cilium.source}"
            continue
        against.append(f"{path} is {chosen} ({given}), {_named(config)} has {value}")
    said = foreign_problems(foreign, config)
    if against or said:
        raise ConfigError("; ".join([*against, *said]), next=f"correct {_named(config)}, or the configuration")
    # What nobody has said stays unsaid: it is found in the cluster, and contradicts nothing before.
    whole = config.model_dump(exclude_unset=True)
    whole["cilium"] |= found
    try:
        return Loaded(Config.model_validate(whole), origin)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        words = str(first["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
        words = f"{key} is {first['input']!r}: {words}" if key else words
        raise ConfigError(f"{_named(config)}: {words}", next="correct it, or the configuration") from None


def releases_for(config: Config, clock: Clock, kubeconfig: Path | str | None, context: str) -> HelmReleases | None:
    """Helm for the release that owns Cilium in the end, on the same cluster; None where no release is wanted.

    It is not started before it is needed.
    """
    if config.cilium.source != "chart":
        return None
    # No shell has put the home folder in the place of `~` in `--kubeconfig=~/prod`.
    reach = [
        *(["--kubeconfig", os.path.expanduser(kubeconfig)] if kubeconfig else []),  # noqa: PTH111 - never raises
        *(["--kube-context", context] if context else []),
    ]
    return HelmReleases(lambda: _helm(tuple(reach)), config.cilium, clock)


def _located(loaded: Loaded, file: Path | None) -> Config:
    """The configuration with the files of `cilium.*` found from the folder of the file that names them."""
    config = loaded.config

    def found(key: str, name: str) -> str:
        beside = file is not None and loaded.origin.get(key, "").startswith(f"{file}, ")
        place = (file.parent if beside and file is not None else Path()) / name
        return str(place.resolve()) if place.exists() else name

    cilium = config.cilium
    update = {
        "chart": found("cilium.chart", cilium.chart) if cilium.chart else "",
        "manifests": found("cilium.manifests", cilium.manifests) if cilium.manifests else "",
        "values": [found("cilium.values", name) for name in cilium.values],
    }
    return config.model_copy(update={"cilium": cilium.model_copy(update=update)})


def _named(config: Config) -> str:
    cilium = config.cilium
    return cilium.manifests if cilium.source == "manifests" else f"{cilium.chart} with its values"


def foreign_for(config: Config) -> Foreign | None:
    """The operator's own Cilium, read once per process; None for the tool's own, and for one that is installed.

    Raises:
        ConfigError: it cannot be read, or is no Cilium.
        UsageError: `helm` is needed and not there.
    """
    cilium = config.cilium
    if cilium.source in _NOTHING_TO_READ:
        return None
    return _read(cilium.model_dump_json(include=_ASKED))


_NOTHING_TO_READ = ("builtin", "existing")
"""Sources of Cilium that no file tells of."""

_TOLD = 6
"""So many of the things that are wrong with one Cilium are told at once."""

_ASKED = {
    "source", "chart", "chart_version", "chart_repository", "values", "release", "manifests", "namespace", "kubernetes",
}  # fmt: skip


@functools.lru_cache(maxsize=4)
def _helm(reach: tuple[str, ...] = ()) -> Helm:
    """The `helm` on PATH, found once per process and way to the cluster."""
    return Helm.find(reach)


@functools.lru_cache(maxsize=4)
def _read(asked: str) -> Foreign:
    """The Cilium that these keys name, as JSON: helm is started once per process and question."""
    cilium = Cilium.model_validate_json(asked)
    if cilium.source == "chart":
        for file in cilium.values:
            check_values(Path(file), "cilium.values")
        documents = _helm().template(cilium)
    else:
        documents = read_documents(Path(cilium.manifests), "cilium.manifests")
    try:
        return read_foreign([one.value for one in documents], [one.where for one in documents])
    except ForeignError as error:
        what = cilium.chart or cilium.manifests
        more = f"; and {len(error.problems) - _TOLD} more" if len(error.problems) > _TOLD else ""
        said = "; ".join(error.problems[:_TOLD]) + more
        raise ConfigError(
            f"{what} is no Cilium that can be used: {said}", next="correct it, or name Cilium's own"
        ) from None


def host_image(config: Config, seen: Snapshot | None) -> str:
    """An image that is on every node already: Canal's (flannel's has a shell), or Cilium's when Canal is gone.

    The last one that is called flannel is flannel's own; an installer of its plugin comes before it.
    """
    canal = seen.daemonsets.get((config.canal.namespace, config.canal.daemonset)) if seen is not None else None
    if canal is None or not canal.images:
        return config.cilium.image
    flannel = (image for image in reversed(canal.images) if "flannel" in image.rpartition("/")[2])
    return next(flannel, canal.images[-1])


def cleaning_image(config: Config, seen: Snapshot | None) -> str:
    """The image in which Canal is removed from hosts: Calico's own, which has all that felix has used there.

    Flannel's has no ipset, and had no nft up to 0.24. Calico's own is told from those of its installer and its
    controllers by the last word of its name: `calico/node`, `mirrored-calico-node`, `hardened-calico`.
    """
    names = config.canal.every_daemonset() if seen is not None else ()
    found = (seen.daemonsets[name] for name in names if seen is not None and name in seen.daemonsets)
    images = (image for daemonset in found for image in daemonset.images)
    return next((image for image in images if _is_calico(image)), host_image(config, seen))


def _is_calico(image: str) -> bool:
    folder, _, name = image.partition("@")[0].rpartition("/")
    name = name.partition(":")[0]
    return "calico" in f"{folder}/{name}" and name.rpartition("-")[2] in ("node", "calico")


def forget() -> None:
    """Forget what was read of the operator's Cilium: for programs that do more than one command, as tests do."""
    _read.cache_clear()
    _helm.cache_clear()
