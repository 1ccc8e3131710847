"""What `install-cni` of a Canal puts on its node: Calico's fills a template in, flannel's copies a file as it stands.

Calico's (cni-plugin/pkg/install) takes the template from CNI_NETWORK_CONFIG, names the file by CNI_CONF_NAME, and
writes the plugin's credentials beside it.
"""

from dataclasses import dataclass

from cni_migrate.sim.client import Object
from cni_migrate.sim.world import meta
from cni_migrate.sim.world.cniconf import parse
from cni_migrate.sim.world.environment import ConfigMaps, NoValue, environment, every_container, mounted
from cni_migrate.sim.world.host import CALICO_KUBECONFIG

CONTAINER = "install-cni"
USUAL_FILE = "10-canal.conflist"
_TEMPLATE = "CNI_NETWORK_CONFIG"
_FOLDER = "/etc/cni/net.d"
_CREDENTIALS = "apiVersion: v1\nkind: Config\n"


@dataclass(frozen=True, slots=True)
class Installed:
    """A CNI file, and the credentials of Calico's plugin when the installer writes them."""

    file: str
    text: str
    kubeconfig: str = ""

    @property
    def files(self) -> dict[str, str]:
        """What appears in the CNI folder, by name."""
        return {self.file: self.text} | ({CALICO_KUBECONFIG: self.kubeconfig} if self.kubeconfig else {})


def installed(maps: ConfigMaps, pod: Object) -> Installed | None:
    """What the pod's installer puts on its node; None when the pod has none, or another one's file is left alone.

    Calico's is told by the template in its environment, flannel's by the folder into which it copies.

    Raises:
        NoValue: its configuration is not in the API.
    """
    for container in every_container(pod):
        if not any(entry.get("name") == _TEMPLATE for entry in container.get("env") or ()):
            continue
        values = environment(maps, pod, container)
        if values[_TEMPLATE]:
            return filled(values[_TEMPLATE], values, meta.node_of(pod))
    for container in every_container(pod):
        words = [str(word) for word in (*(container.get("command") or ()), *(container.get("args") or ()))]
        if words and words[-1].startswith(f"{_FOLDER}/") and container["name"].startswith(CONTAINER):
            return Installed(words[-1].rpartition("/")[2], _file(maps, pod, "cni-conf.json"))
    if any(container["name"] == CONTAINER for container in every_container(pod)):
        return copied(_file(maps, pod, "cni_network_config"))
    return None


def copied(text: str) -> Installed:
    """Canal's file as it stands in its ConfigMap; beside Calico's plugin its credentials."""
    network = parse(text)
    of_calico = network is not None and network.provider == "canal" and not network.bridged
    return Installed(USUAL_FILE, text, _CREDENTIALS if of_calico else "")


def filled(template: str, values: dict[str, str], node: str) -> Installed:
    """Calico's template with its placeholders replaced; an MTU that is not given is 1500."""
    folder = values.get("CNI_NET_DIR", _FOLDER)
    known = {
        "__CNI_MTU__": values.get("CNI_MTU", "1500"),
        "__DATASTORE_TYPE__": values.get("DATASTORE_TYPE", "kubernetes"),
        "__KUBECONFIG_FILENAME__": CALICO_KUBECONFIG,
        "__KUBECONFIG_FILEPATH__": f"{folder}/{CALICO_KUBECONFIG}",
        "__KUBERNETES_NODE_NAME__": values.get("KUBERNETES_NODE_NAME", node),
        "__KUBERNETES_SERVICE_HOST__": values.get("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
        "__KUBERNETES_SERVICE_PORT__": values.get("KUBERNETES_SERVICE_PORT", "443"),
        "__LOG_LEVEL__": values.get("LOG_LEVEL", "info"),
        "__SERVICEACCOUNT_TOKEN__": "token",
    }
    for placeholder, value in known.items():
        template = template.replace(placeholder, value)
    return Installed(values.get("CNI_CONF_NAME", "10-calico.conflist"), template, _CREDENTIALS)


def _file(maps: ConfigMaps, pod: Object, name: str) -> str:
    """A file of one of the ConfigMaps that the pod has as volumes."""
    text = mounted(maps, pod, name)
    if text is None:
        raise NoValue(f"{name} is missing in the Canal ConfigMap")
    return text
