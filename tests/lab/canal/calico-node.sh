#!/bin/sh
# The lab's calico-node: says that the node's plugin may work, and enforces NetworkPolicies with kube-router's firewall.
set -eu
printf '%s' "$NODE_NAME" >/var/lib/calico/nodename

# kube-router knows a pod some moments after it has an address, and lets everything through until then. Calico does not:
# a link that felix has not heard of is closed. So nothing new reaches a pod's link without the mark of kube-router's verdict.
# Chain, comments and ipset have names as felix gives them, so that a clean-up finds here what it finds beside felix.
closed=cali-unknown-workload
hook="cali:LabUnknownLinks0"
verdict=0x20000/0x20000
iptables -w -n -L "$closed" >/dev/null 2>&1 || iptables -w -N "$closed"
set -- "$closed" -m conntrack --ctstate NEW -m mark ! --mark "$verdict" -j DROP
iptables -w -C "$@" 2>/dev/null || iptables -w -A "$@"
set -- FORWARD -o cali+ -m comment --comment "$hook" -j "$closed"
iptables -w -C "$@" 2>/dev/null || iptables -w -I "$@"
set -- FORWARD -m comment --comment "cali:LabAccepted00000" -m mark --mark "$verdict" -j ACCEPT
iptables -w -C "$@" 2>/dev/null || iptables -w -A "$@"
# Cilium hands packets to the node with their identity in the mark's upper half, where kube-router has its verdicts: of
# every other caller it would think that it was let through already. Felix clears its own bits first; this does it for it.
set -- FORWARD -o cali+ -m comment --comment "cali:LabOwnMarks00000" -j MARK --set-xmark 0x0/0x30000
iptables -w -t mangle -C "$@" 2>/dev/null || iptables -w -t mangle -A "$@"
ipset -exist create cali40this-host hash:ip

exec kube-router --run-firewall=true --run-router=false --run-service-proxy=false \
    --service-cluster-ip-range="$SERVICE_CIDR" --iptables-sync-period=15s --metrics-port=0 --v=1
