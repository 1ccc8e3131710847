"""Every finding by its id: what it means, what mends it, and whether an operator's judgement can waive it.

What is certain to break, or what a step refuses anyway, cannot be waived; the row says why.
"""

from dataclasses import dataclass
from typing import Final

from cni_migrate.core.preflight.registry import Severity

BLOCKER, WARNING, INFO = Severity


@dataclass(frozen=True, slots=True)
class About:
    """What is declared of the findings with one id.

    `never` says why they cannot be waived; empty: they can. `later`: a step finds out, so it may be waived before.
    """

    id: str
    severities: tuple[Severity, ...]
    meaning: str
    remedy: str
    never: str = ""
    later: bool = False

    @property
    def waivable(self) -> bool:
        """Whether `--waive` takes it."""
        return not self.never


FACT: Final = "it is for information and stops nothing"
CONFIGURED: Final = "configuration and cluster contradict each other"

ABOUT: Final = {
    one.id: one
    for one in (
        About("RIGHTS", (BLOCKER,), "The user lacks rights that the migration needs.",
              "`migrate manifests rbac | kubectl apply -f -` as an admin, then run as that ServiceAccount.",
              "the API server would refuse a step"),
        About("ADMISSION", (BLOCKER,), "A quota, PodSecurity or a webhook would refuse objects, or nobody knows them.",
              "Exempt the named namespaces, or raise the quota. If waived, the step that applies them is held."),
        About("CANAL_DAEMONSET", (BLOCKER,), "The configured DaemonSet is not there, or not Canal's.",
              "Correct `canal.namespace` and `canal.daemonset`, or omit them: they are found.", CONFIGURED),
        About("CANAL_TWICE", (BLOCKER,), "Two DaemonSets run flannel on one node.",
              "Remove the obsolete one.",
              "which network a pod is on cannot be told"),
        About("CANAL_SETTINGS", (BLOCKER,), "flannel would not start with its settings.",
              "Fix `net-conf.json` in the named ConfigMap.",
              "a Canal pod that restarts would not come back"),
        About("CANAL_ETCD", (BLOCKER,), "flannel has its networks from an etcd, not from the nodes' podCIDRs.",
              "Move flannel to the Kubernetes API (`--kube-subnet-mgr`) first.",
              "which pods are Canal's cannot be told"),
        About("CALICO_ETCD", (BLOCKER,), "Calico's own objects are in an etcd, unseen.",
              "Waive it when `calicoctl` shows no policy of Calico's own kinds."),
        About("CANAL_TAINT", (BLOCKER,), "Canal's pods do not tolerate the taint of a node in transit.",
              "Add the toleration `{operator: Exists, effect: NoSchedule}` to its DaemonSet.",
              "Canal would not come back on a node, and with it the way back"),
        About("NODE_CIDRS", (BLOCKER,), "Nodes without a podCIDR.",
              "Start the controller manager with `--allocate-node-cidrs`, or remove these nodes.",
              "flannel cannot serve such a node"),
        About("CANAL_READY", (BLOCKER,), "Canal is not Ready on a Ready node.",
              "Fix Canal there first."),
        About("NODES_READY", (BLOCKER,), "Nodes are NotReady.",
              "Fix or remove them. If waived, they hold the run up until skipped."),
        About("ENOUGH_NODES", (BLOCKER,), "Pods of a drained node would find no other node that takes them.",
              "Add or uncordon a node. If waived, such pods stay Pending until their node is back."),
        About("NODES_CORDONED", (WARNING,), "Somebody else has cordoned nodes: they are left alone, clean-up waits.",
              "Uncordon them, or remove them from the cluster."),
        About("NAMED_NODES", (BLOCKER,), "`canary` or `own_node` names a node that is not there.", "Correct the key.",
              CONFIGURED),
        About("OTHER_CILIUM", (BLOCKER,), "A Cilium is there that is not this migration's.",
              "Remove it, or go on with it: `cilium.source: existing`.",
              "two of them fight for the nodes' CNI files"),
        About("CILIUM_INSTALLED", (BLOCKER,), "`cilium.source` is `existing`, and no Cilium is there, or another one.",
              "Install it by Cilium's guide, or correct `cilium.namespace` or `cilium.version`.", CONFIGURED),
        About("CILIUM_OPERATOR", (BLOCKER,), "The operator of an installed Cilium runs nowhere.",
              "Put it back: nodes have their networks from it."),
        About("CILIUM_KEYS", (BLOCKER,), "An installed Cilium cannot run beside Canal.",
              "`helm upgrade` with the values of `migrate manifests cilium-values`.",
              "it would take nodes whose turn it is not, or leave policies open"),
        About("CILIUM_DAEMONSET", (BLOCKER,), "Agents of your own Cilium could not do their part beside Canal.",
              "Change its values: version, node selector, affinity, tolerations, arguments, CNI folder.",
              "a node would have no agent, or a wrong one, when its turn comes"),
        About("CILIUM_NODE_CONFIG", (BLOCKER,), "A CiliumNodeConfig of somebody else's outranks the migration's keys.",
              "Remove the keys from it until the migration is done.",
              "nodes would use Cilium before their turn, or never"),
        About("CILIUM_SWITCHED", (BLOCKER,), "Nodes were switched to an installed Cilium by hand already.",
              "Remove the label, restart Cilium's agent there, then the node.",
              "a rollback could not give back what was there"),
        About("CILIUM_LATER", (INFO,), "What your Cilium's values ask for that comes with the last step.",
              "Nothing during the migration; remove kube-proxy afterwards where it is replaced.", FACT),
        About("CILIUM_HOOKS", (WARNING,), "Your manifests have Helm hooks, which nobody runs.",
              "Remove the annotation where Cilium needs them."),
        About("CILIUM_API_SERVER", (WARNING,), "Your Cilium replaces kube-proxy, and does not know the API server.",
              "Values: `k8sServiceHost` and `k8sServicePort`; or keep kube-proxy afterwards."),
        About("CILIUM_PULL", (WARNING,), "Your Cilium is not pulled as `registry` and `pull_secrets` say.",
              "Its objects are applied as they are: write mirror and secrets into its values."),
        About("RELEASE", (BLOCKER, WARNING), "Helm has a release of the name, or another one has Cilium's objects.",
              "Name another `cilium.release`, or remove that release, or what a killed helm left behind."),
        About("OTHER_MULTUS", (BLOCKER,), "A Multus is there that is not this migration's.", "Remove it first.",
              "two of them fight for the nodes' CNI files"),
        About("RECORD_LOST", (BLOCKER,), "Nodes have labels or taints of a migration whose record is gone.",
              "Put the record back: [how](../how-to/recover-the-record.md).",
              "a second migration would cut off nodes that are on Cilium"),
        About("LABELS_TAKEN", (BLOCKER,), "A label of the migration is there with another value.",
              "Choose other keys (`labels`), or remove the labels if nobody needs them.",
              "what somebody else has set is not overwritten"),
        About("TAINT_TAKEN", (BLOCKER,), "The migration's taint is there with another value or effect.",
              "Choose another `labels.cilium.key`, or remove the taint if nobody needs it.",
              "what somebody else has set is not overwritten"),
        About("CANAL_POD_CIDR", (BLOCKER,), "The pod network is not the one that the configuration or flannel names.",
              "Correct `canal.pod_cidr` and `canal.network`, or omit them: they are found.", CONFIGURED),
        About("TUNNEL_PORT", (BLOCKER,), "flannel's UDP port is not the configured one, or Cilium's is the same.",
              "Omit `canal.tunnel_port`, and choose another `cilium.tunnel_port`.",
              "two tunnels cannot share a port"),
        About("CANAL_VNI", (BLOCKER,), "flannel's VXLAN identifier is not the configured one.",
              "Omit `canal.vni`: it is found.", CONFIGURED),
        About("CANAL_CNI_FILE", (BLOCKER,), "Canal's CNI file has another name than configured.",
              "Omit `canal.cni_file`: it is found.", CONFIGURED),
        About("CANAL_NETWORK_NAME", (BLOCKER,), "Canal's CNI file names another network than configured.",
              "Omit `canal.network_name`: it is found.", CONFIGURED),
        About("CNI_FOLDER", (BLOCKER, INFO), "The nodes' CNI folders: contradicted, or taken for granted.",
              "Set `host_task.cni_folder` and `host_task.bin_folder`.", CONFIGURED),
        About("CNI_FILES", (BLOCKER,), "The names of the CNI files do not sort as the migration needs it.",
              "Change the keys that are named.", "the runtime would take the wrong network's file"),
        About("CANAL_CONFIG", (WARNING,), "Parts of Canal's configuration were not found, so they were not compared.",
              "Make sure that the `canal` section is right."),
        About("CANAL_FOUND", (INFO,), "Canal as the cluster tells of it.", "Nothing to do.", FACT),
        About("CANAL_POD_PART", (WARNING, INFO), "flannel's Network is wider than the part that pods have.",
              "Set `canal.pod_cidr` to the controller manager's `--cluster-cidr`; keep `cilium.pod_cidr` out of it."),
        About("CANAL_BACKEND", (BLOCKER,), "flannel's backend is not vxlan: no other was tried.",
              "Change `Backend.Type` to vxlan first. Waive it after a rehearsal on a copy of the cluster."),
        About("CANAL_NFTABLES", (BLOCKER,), "flannel masquerades by nftables: policies would not know who calls.",
              "Set `EnableNFTables: false` and restart Canal. Waive it where there are no NetworkPolicies."),
        About("DUAL_STACK", (BLOCKER,), "IPv6 is in use, and pods would lose it.",
              "Make Services single stack and turn EnableIPv6 off. Waive it when nothing needs IPv6."),
        About("CIDR_OVERLAP", (BLOCKER,), "Cilium's pod network is in use, or nodes have addresses in Canal's.",
              "Choose a free `cilium.pod_cidr`; correct `canal.pod_cidr`.", "an address would be there twice"),
        About("CILIUM_POOL", (BLOCKER,), "`cilium.pod_cidr` has fewer parts than the cluster has nodes.",
              "Choose a larger `cilium.pod_cidr` or a larger `cilium.mask_size`.", "nodes would get no pod network"),
        About("CALICO_POLICIES", (BLOCKER,), "Policies of Calico's own kinds: what they forbid would be open.",
              "Translate and delete them. Waive it when they forbid nothing that matters."),
        About("CLEANING_IMAGE", (WARNING,), "Calico is removed from hosts in another image than its own.",
              "Leave `host_task.image` empty, or see that it has nft and ipset."),
        About("FELIX", (BLOCKER, WARNING), "A setting of felix that Cilium cannot live with.",
              "Blocker: turn it off first. Warning: check whether anything relies on it.",
              "a node cannot be in between with such a setting"),
        About("CALICO_IPAM", (BLOCKER, INFO), "Pods have addresses from Calico's own pools, or pools are left over.",
              "None: a Calico with its own pools is not Canal.", "which pods are Canal's cannot be told"),
        About("CALICO_NAT", (BLOCKER,), "A Calico before 3.28 masquerades what Canal's pods send to Cilium's.",
              "Turn natOutgoing off in the IPPools that are named.", "policies would block allowed callers"),
        About("POLICIES_IPBLOCK", (WARNING,), "NetworkPolicies name pods or nodes by address: Cilium ignores that.",
              "Allow them by podSelector and namespaceSelector beside the ipBlock."),
        About("POLICIES_OFF", (WARNING,), "By Cilium's configuration policies are open in the end.",
              "If that is not intended, omit `policy_enforcement` or `policy-audit-mode`."),
        About("POLICIES_LABELS", (BLOCKER,), "NetworkPolicies choose pods by labels that Cilium does not look at.",
              "Choose them by labels of your own. Waive it when such a policy protects nothing."),
        About("POLICIES_PORTS", (WARNING,), "NetworkPolicies with ranges of ports that this Cilium does not read.",
              "Choose Cilium 1.16 or newer, or name the ports."),
        About("SCTP", (BLOCKER,), "SCTP is in use, which Cilium drops unless it is told otherwise.",
              "`cilium.extra_config: {enable-sctp: \"true\"}`. Waive it when nothing needs it."),
        About("ROOM", (BLOCKER,), "What the pods of a drained node request is not free on the other nodes.",
              "Add a node, or lower requests. If waived, such pods stay Pending until their node is back."),
        About("BUDGET_CLOSED", (BLOCKER,), "A PodDisruptionBudget allows no eviction now.",
              "Add a replica, fix the pods or loosen the budget. If waived, the drain waits for the budget."),
        About("BUDGET_TWICE", (BLOCKER,), "Two PodDisruptionBudgets cover a pod: Kubernetes never evicts it.",
              "Leave each pod one budget. If waived, the drain is held."),
        About("BARE_PODS", (BLOCKER,), "Nothing would recreate a pod that has to be evicted.",
              "Delete it, give it a controller, or `--force`. If waived, the drain is held."),
        About("EMPTYDIR_PODS", (BLOCKER,), "A pod would lose its emptyDir data.",
              "Move the data, or `--delete-emptydir-data`. If waived, the drain is held."),
        About("LOCAL_VOLUMES", (WARNING,), "Pods with a PersistentVolume on their node are down while it is drained.",
              "Make sure that their workload can do without them for some minutes."),
        About("HOST_PORTS", (WARNING,), "Host ports are closed on each node once it is migrated.",
              "Give the pods hostNetwork or a NodePort, or have your own Cilium serve them."),
        About("CNI_PLUGINS", (WARNING,), "What plugins chained behind Canal's own do for pods goes with Canal.",
              "Check whether pods rely on it."),
        About("CNI_WRITERS", (WARNING,), "Somebody else writes into nodes' CNI folder, as service meshes do.",
              "Migrate one node first, and check whether its file has the plugin."),
        About("CLUSTER_AUTOSCALER", (WARNING,), "An autoscaler removes nodes that are cordoned or empty.", "Pause it."),
        About("KURED", (WARNING,), "kured drains and reboots nodes on its own.", "Pause it."),
        About("MACHINE_HEALTH", (WARNING,), "Machine health checks replace nodes that are out of service.",
              "Pause them."),
        About("DESCHEDULER", (WARNING,), "The descheduler evicts pods on its own.", "Pause it."),
        About("KUBE_PROXY_IPVS", (WARNING,), "kube-proxy is in IPVS mode: only iptables was tried beside Cilium.",
              "Rehearse on a copy of the cluster, or change the mode first."),
        About("KUBE_PROXY_CIDR", (WARNING,), "kube-proxy's cluster CIDR does not hold `cilium.pod_cidr`.",
              "Set kube-proxy's clusterCIDR to a network that holds both."),
        About("NODE_LOCAL_DNS", (WARNING,), "NodeLocal DNSCache answers on the host: policies must allow that.",
              "Allow DNS to the host, or have a CiliumLocalRedirectPolicy afterwards."),
        About("WINDOWS", (BLOCKER,), "Nodes with Windows: Cilium does not run there.",
              "Move them to another cluster. If waived, they hold the run up until skipped."),
        About("ARCHITECTURE", (BLOCKER,), "Nodes with an architecture that Cilium's images are not published for.",
              "Remove them. Waive it when you have named images that are built for it."),
        About("WEBHOOKS", (WARNING,), "Pods are refused while an admission webhook cannot be reached.",
              "Run its server with two replicas and a budget, or exempt our namespaces."),
        About("POLICIES", (INFO,), "In which namespaces policies stay in force.", "Nothing to do.", FACT),
        About("GITOPS", (WARNING,), "Something else keeps Canal's DaemonSet as it is.",
              "Suspend that until the migration is done."),
        About("MANIFESTS", (WARNING,), "What the manifests of the chosen version cannot guarantee.",
              "Choose another version, or rehearse on a copy of the cluster."),
        About("CILIUM_KUBERNETES", (WARNING,), "Cilium does not list this version of Kubernetes among the tested ones.",
              "Choose another Cilium, or rehearse on a copy of the cluster."),
        About("FIREWALL", (INFO,), "Which UDP port must be open between all nodes; `run` tests it first.",
              "Open it. If waived, the gates find out, but late.", later=True),
        About("IMAGES", (INFO,), "Which images the nodes pull.", "Make sure that they can, or mirror them.", FACT),
        About("VERSION", (INFO,), "The API server's version.", "Nothing to do.", FACT),
    )
}  # fmt: skip
"""In the order in which the checks come."""
