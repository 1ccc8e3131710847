"""Gives the pods of its node that are on Canal's network an endpoint and an identity in Cilium, and keeps them true.

A package of the standard library alone, for Python 3.9 or newer: it runs from a ConfigMap in a stock Python image, one
key per module, on each node. Cilium enforces policies by identities, which it learns from CiliumEndpoints; its agents
make these for Cilium's pods only. With one for each of Canal's pods, policies hold between the two networks. Nobody
needs to drive for that.

`python3 -m agent serve` watches and writes, `ready` and `alive` tell the kubelet how that goes (`__main__`).
docs/explanation/policies.md says why, docs/reference/identities.md what it prints. Where a rule is Cilium's own, the
source is named.
"""
