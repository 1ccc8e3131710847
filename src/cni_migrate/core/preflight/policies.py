"""Checks of NetworkPolicies that Cilium reads otherwise than Calico: what would be open, and what would be blocked."""

from collections.abc import Iterator
from typing import Final

from cni_migrate.core.model.words import many
from cni_migrate.core.preflight.registry import Facts, Finding, blocker, check, info, warning

ENFORCERS: Final = ("calico-node", "kube-router", "weave-npc", "kube-network-policies")
"""What enforces NetworkPolicies beside a flannel, by the name of its container or image."""


def _enforced_today(facts: Facts) -> bool:
    """Whether anything that is there is known to enforce policies, as flannel does not; or there is no Canal at all."""
    every = (word for one in facts.seen.daemonsets.values() for word in (*one.containers, *one.images))
    return (
        bool(facts.found.calico)
        or not facts.found.daemonsets
        or any(name in word for word in every for name in ENFORCERS)
    )


@check
def enforced(facts: Facts) -> Iterator[Finding]:
    """Whose policies are in force all the time; or in the end no more, as the operator's own settings have it."""
    if not facts.policies:
        return
    per_namespace: dict[str, int] = {}
    for _, namespace, _name in facts.policies:
        per_namespace[namespace] = per_namespace.get(namespace, 0) + 1
    listed = [f"{namespace}: {number}" for namespace, number in sorted(per_namespace.items())]
    if not _enforced_today(facts):
        others = [one for one in listed if one.partition(":")[0] != facts.config.knet.namespace]
        if others:
            yield warning(
                "POLICIES_NEW",
                f"nothing here is known to enforce NetworkPolicies: those of {many(len(others), 'namespace')} come into"
                " force on each node once it is migrated, and calls that they do not allow, which succeed today, are"
                " blocked from then on",
                "see what they do not allow (kubectl get networkpolicies -A), and widen or delete them first; nothing"
                " to do where a program that is not known here enforces them",
                others,
            )
        return
    never = facts.config.cilium.policy_enforcement == "never"
    if not never and not facts.audited:
        yield info("POLICIES", f"policies stay in force in {many(len(listed), 'namespace')}", "nothing to do", listed)
        return
    why = "cilium.policy_enforcement is never" if never else "policy-audit-mode is true in Cilium's configuration"
    yield warning(
        "POLICIES_OFF",
        f"{why}: policies of {many(len(listed), 'namespace')} are open once the migration is done",
        "if that is not intended, omit it",
        listed,
    )


@check
def unknown_labels(facts: Facts) -> Iterator[Finding]:
    """No policy chooses pods by labels that Cilium leaves out of identities: it would choose none of them.

    Cilium's documentation ("Limiting Identity-Relevant Labels") and pkg/labelsfilter/filter.go have the list.
    """
    if facts.unknown_labels:
        yield blocker(
            "POLICIES_LABELS",
            f"{many(len(facts.unknown_labels), 'selector')} of NetworkPolicies by labels that are no part of identities"
            " in Cilium: a podSelector by such a label chooses no pod, so what it protects would be open; as a peer,"
            " callers that it allows would be blocked",
            "choose these pods by labels of your own, or have your own Cilium take the labels in where it can (its"
            " option `labels`); or --waive POLICIES_LABELS when such a policy protects nothing",
            facts.unknown_labels,
        )


@check
def port_ranges(facts: Facts) -> Iterator[Finding]:
    """No policy has a range of ports that the version of Cilium does not read."""
    if facts.port_ranges:
        yield warning(
            "POLICIES_PORTS",
            f"Cilium {facts.config.cilium.version} takes the first port of a range for the whole: calls to the others,"
            f" which {many(len(facts.port_ranges), 'object')} of kind NetworkPolicy would allow, will be blocked",
            "choose Cilium 1.16 or newer, or name the ports one by one",
            facts.port_ranges,
        )


@check
def sctp(facts: Facts) -> Iterator[Finding]:
    """Nothing speaks SCTP, which Cilium drops unless it is told to pass it (its documentation: "SCTP support")."""
    if facts.sctp:
        yield blocker(
            "SCTP",
            "SCTP is in use, and Cilium drops it on each node once it is migrated: its option enable-sctp is not set",
            'cilium.extra_config: {enable-sctp: "true"}, or sctp.enabled in the values of your own Cilium; or'
            " --waive SCTP when nothing needs it",
            facts.sctp,
        )


@check
def ip_blocks(facts: Facts) -> Iterator[Finding]:
    """No policy names pods or nodes by address: Cilium reads ipBlock as what is outside of the cluster.

    Its documentation ("Network Policy", "Known limitations: ipBlock"): CIDR rules do not apply where both ends are
    known to Cilium, such as pods and nodes.
    """
    if facts.ip_blocks:
        yield warning(
            "POLICIES_IPBLOCK",
            f"{many(len(facts.ip_blocks), 'ipBlock rule')} of NetworkPolicies on addresses of pods or nodes: Cilium"
            " applies ipBlock only to what is outside of the cluster, so what they allow inside will be blocked",
            "allow pods by podSelector and namespaceSelector beside the ipBlock (nodes: a CiliumNetworkPolicy with"
            " fromEntities: [host, remote-node])",
            facts.ip_blocks,
        )
