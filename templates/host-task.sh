# Works on one node's files, links and chains, then reports what is there. Operations are the arguments, done in order;
# each may be repeated. POSIX sh with sed, grep, sort, cat, rm, ln, readlink, sleep and tee, and no more: Calico's own image has
# neither tr nor wc, mv, rmdir or chroot (node/clean-up-filesystem.sh, 3.32).
# docs/reference/host-tasks.md describes the operations and the report.
set -eu
LC_ALL=C
export LC_ALL

root=${HOST_ROOT:-/host}

real() { # PATH: where it is on the node, without links: an absolute one would lead out of the node's root from here
    reached='' left=${1#/} links_left=40
    while [ -n "$left" ]; do
        part=${left%%/*}
        case $left in */*) left=${left#*/} ;; *) left= ;; esac
        case $part in
        '' | .) ;;
        ..) reached=${reached%/*} ;;
        *)
            target=
            if [ -L "$root$reached/$part" ]; then target=$(readlink "$root$reached/$part" 2>/dev/null || true); fi
            case $target in *[!A-Za-z0-9/_.-]*) target= ;; esac
            if [ -n "$target" ] && [ "$links_left" -gt 0 ]; then
                links_left=$((links_left - 1))
                case $target in /*) reached='' ;; esac
                left=$target${left:+/$left}
            else
                reached=$reached/$part
            fi ;;
        esac
    done
    echo "$reached"
}

netd=$root$(real "${CNI_FOLDER:-/etc/cni/net.d}")
bin_folder=$(real "${BIN_FOLDER:-/opt/cni/bin}")
cni_state=$(real /var/lib/cni)
canal_file=${CANAL_FILE:-10-canal.conflist}
configured_network=${CANAL_NETWORK:-k8s-pod-network}
canal_cidr=${CANAL_POD_CIDR:-}
flannel_network=${FLANNEL_NETWORK:-$canal_cidr}
cilium_cidr=${CILIUM_POD_CIDR:-}
multus_file=${MULTUS_FILE:-00-multus.conflist}
await_seconds=${AWAIT_SECONDS:-60}
keep_seconds=${KEEP_SECONDS:-15}
kept=${KEPT_FILE:-/tmp/rules}
mounts=${MOUNTS_FILE:-/proc/self/mountinfo}
flannel_state=$cni_state/flannel
multus_state=$cni_state/multus
cilium_state=/run/cilium/state # its endpoints: an agent that finds the host's there later, without its link, takes the new link down
cilium_sysctls=/etc/sysctl.d/99-zzz-override_cilium.conf # cilium-sysctlfix lays it: rp_filter is off, anew at each boot
results=$cni_state/results # what the runtime remembers of each pod's network; a pod that another plugin removed stays
subnet_env=/run/flannel/subnet.env
flannel_links='cni0|flannel\..*|flannel-v6\..*|flannel-wg|flannel-wg-v6|flannel[0-9]+' # of every backend
nodename=/var/lib/calico/nodename
calico_kubeconfig=calico-kubeconfig # in the CNI folder, with the credentials of Calico's plugin
calico_tls=calico-tls # in the CNI folder, with keys for an etcd of Calico's
flex_volumes="/usr/libexec/kubernetes/kubelet-plugins/volume/exec /var/lib/kubelet/volumeplugins" # the kubelet's, RKE2's
node_agent=/run/nodeagent # made for a volume of Calico's pod; others may use it, too
calico_folders="/run/calico /var/lib/calico /var/log/calico"
message=${TERMINATION_LOG:-/dev/termination-log}

# --- text -------------------------------------------------------------------------------------------------------------

joined() { # SEPARATOR: the lines as one
    sed -e ':all' -e '$!{' -e 'N' -e 'b all' -e '}' -e "s/\n/$1/g"
}

more_than() { # N TEXT: whether it has more lines
    [ "$(echo "$2" | grep -c '')" -gt "$1" ]
}

# --- Canal's network: host-local and the runtime name what they keep of its pods after the one in the CNI file --------

name_in() { # PATH: the network's name in that CNI file, if there is one that can be a path
    [ -f "$1" ] || return 0
    # Whatever is nested is taken away, from the innermost outwards: plugins may have names of their own.
    found=$(joined '' <"$1" | sed -n -e 's/^[^{]*{//' -e ':nested' -e 's/{[^{}]*}//' -e 't nested' \
        -e 's/.*"name"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p')
    case $found in
    '' | [!A-Za-z0-9]* | *[!A-Za-z0-9_.-]*) ;; # the specification's rule for names
    *) echo "$found" ;;
    esac
}

canal_network() { # the name in the node's own Canal file, also where Cilium has renamed that; else the configured one
    found=$(name_in "$netd/$canal_file")
    found=${found:-$(name_in "$netd/$canal_file.cilium_bak")}
    echo "${found:-$configured_network}"
}

canal_files() { # CNI files of flannel's or Calico's plugin, whatever they are called: in two DaemonSets each lays its own
    for path in "$netd"/*.conf "$netd"/*.conflist "$netd"/*.json "$netd"/*.cilium_bak; do
        [ -f "$path" ] || continue
        case $(joined '' <"$path" | grep -Eo '"type"[[:space:]]*:[[:space:]]*"(multus[^"]*|flannel"|calico")' || true) in
        *multus*) ;; # it has Canal's in itself, and goes with Multus
        *flannel* | *calico*) echo "${path##*/}" ;;
        esac
    done
}

lease_folder() { # where host-local keeps leases: `dataDir` of the file's ipam section, else its default
    for path in "$netd/$canal_file" "$netd/$canal_file.cilium_bak"; do
        [ -f "$path" ] || continue
        found=$(joined '' <"$path" | sed -n 's/.*"ipam"[[:space:]]*:[[:space:]]*{//p' |
            grep -o '"dataDir"[[:space:]]*:[[:space:]]*"[^"]*"' | sed -n -e '1s/.*:[[:space:]]*"//' -e '1s|/*"$||p')
        case $found in
        *[!A-Za-z0-9/_.-]* | *..*) ;;
        /?*) echo "$found"; return ;;
        esac
    done
    echo /var/lib/cni/networks
}

network=$(canal_network) # once: clean-up removes the file before what is named after it
leases=$(real "$(lease_folder)")/$network

# --- the node's own programs, when it has them; the image's otherwise -------------------------------------------------

on_host() { # NAME: whether the node itself has this program
    chroot "$root" /bin/sh -c "command -v $1" >/dev/null 2>&1
}

here() { # NAME: whether the program can be run, from the node or from the image
    on_host "$1" || command -v "$1" >/dev/null 2>&1
}

run() { # NAME ARG...: run the node's program in the node's root, or the image's
    if on_host "$1"; then chroot "$root" "$@"; else "$@"; fi
}

find_iptables() { # one line per variant of iptables that can be asked; old and new kernel interfaces differ
    found=
    for family in iptables-nft iptables-legacy ip6tables-nft ip6tables-legacy; do
        if here "$family-save" && here "$family-restore"; then echo "$family"; found="$found $family"; fi
    done
    case $found in *iptables-*) ;; *) if here iptables-save; then echo iptables; fi ;; esac
    case $found in *ip6tables-*) ;; *) if here ip6tables-save; then echo ip6tables; fi ;; esac
}

families_found=$(find_iptables) # once: it takes a dozen processes, and is asked for at every look

iptables_families() {
    [ -z "$families_found" ] || echo "$families_found"
}

# --- looking ----------------------------------------------------------------------------------------------------------

links() { # names of all links
    { run ip -o link show 2>/dev/null || true; } | sed -n 's/^[0-9]*: \([^:@]*\)[:@].*/\1/p'
}

our_links() {
    links | grep -E "^($flannel_links|cilium_.*|lxc.*)\$" | sort || true
}

chains() { # PATTERN: FAMILY TABLE CHAIN of every chain whose whole name matches
    for family in $(iptables_families); do
        { run "$family-save" 2>/dev/null || true; } |
            sed -n -e '/^\*/{s/^\*//;h;}' -e '/^:/{s/^:\([^ ]*\) .*/\1/;G;s/\n/ /;p;}' |
            { grep -E "^($1) " || true; } | sed "s/^\([^ ]*\) \(.*\)/$family \2 \1/"
    done
}

first_plugin() { # NAME: whether Canal's CNI file hands pods to this plugin
    joined '' <"$netd/$canal_file" | grep -Eq "\"type\"[[:space:]]*:[[:space:]]*\"$1\""
}

setting() { # KEY DEFAULT: a text of Canal's CNI file
    found=$(joined '' <"$netd/$canal_file" | sed -n "s/.*\"$1\"[[:space:]]*:[[:space:]]*\"\([^\"]*\)\".*/\1/p")
    echo "${found:-$2}"
}

lacks() { # what Canal's plugin reads on the node and would not find: flannel's and Calico's write it when they are up
    [ -f "$netd/$canal_file" ] || return 0
    if first_plugin flannel; then missing "$(setting subnetFile "$subnet_env")"; fi
    if first_plugin calico; then
        missing "$(setting nodename_file "$nodename")"
        credentials=$(setting kubeconfig "")
        [ -z "$credentials" ] || missing "$credentials"
    fi
}

missing() { # PATH: that path, unless the node has it
    [ -e "$root$(real "$1")" ] || echo "$1"
}

pod_routes() { # the routes into Canal's network
    [ -n "$canal_cidr" ] || return 0
    family=-4
    case $canal_cidr in *:*) family=-6 ;; esac
    run ip "$family" route show root "$canal_cidr" 2>/dev/null || true
}

routed() { # whether flannel has laid a route to another node's pods: by its link, or straight to the node
    pod_routes | grep -Eq ' via | dev flannel'
}

nat_rules() { # FAMILY: the rules of its table nat, without loading that table where nobody has
    { run "$1-save" 2>/dev/null || true; } | sed -n '/^\*nat/,/^COMMIT/{/^-A /p;}'
}

our_rules() { # FAMILY: the rules that this program has laid
    nat_rules "$1" | grep -E -- '--comment "?cni-migrate"? ' || true
}

rule_families() { # those through whose table nat traffic passes; the first one where there is none yet
    version=iptables
    case $canal_cidr in *:*) version=ip6tables ;; esac
    found=
    for family in $(iptables_families | grep "^$version" || true); do
        if [ -n "$(nat_rules "$family")" ]; then echo "$family"; found=yes; fi
    done
    [ -n "$found" ] || iptables_families | grep "^$version" | sed -n 1p || true
}

stands() { # FAMILY: whether our rules are there once each, before all that change a sender's or a receiver's address
    [ "$(our_rules "$1" | grep -c '')" -eq 2 ] || return 1
    ours_first "$1" POSTROUTING 'FLANNEL|flannel|CILIUM|MASQUERADE|SNAT' || return 1
    ours_first "$1" OUTPUT 'KUBE-|CNI-|CILIUM|DNAT|REDIRECT|ACCEPT'
}

ours_first() { # FAMILY CHAIN PATTERN: whether our rule of the chain comes before those that have the pattern
    nat_rules "$1" | grep -E -- "^-A $2 " | grep -E "cni-migrate|$3" | sed -n 1p | grep -q -- 'cni-migrate'
}

rules() { # the families in which our rule is
    for family in $(iptables_families); do
        [ -z "$(our_rules "$family")" ] || echo "$family"
    done
}

sets() { # names of Calico's ipsets
    if here ipset; then run ipset list -n 2>/dev/null | grep -E '^cali[46]0' || true; fi
}

# Felix has `calico` in nftables mode, and from Calico 3.32 on `arp calico-arp` in every mode (felix/dataplane/linux,
# int_dataplane.go); flannel has two when it masquerades by nftables (pkg/trafficmngr/nftables).
tables() {
    if here nft; then
        run nft list tables 2>/dev/null | grep -E '^table (ip6? calico|arp calico-arp|ip flannel-ipv4|ip6 flannel-ipv6)$' || true
    fi
}

lease_names() {
    [ -d "$root$leases" ] || return 0
    for path in "$root$leases"/*; do
        name=${path##*/}
        case $name in
        *[!0-9a-f.:]* | lock | '') ;;
        *[.:]*) [ -f "$path" ] && echo "$name" ;;
        esac
    done | sort -t . -k 1,1n -k 2,2n -k 3,3n -k 4,4n
}

# --- operations -------------------------------------------------------------------------------------------------------

each() { # LIST: comma-separated values, one a line
    echo "$1" | sed -e 's/,/\
/g' | sed '/^$/d'
}

remove_files() { # LIST: files in the CNI folder
    each "$1" | while read -r name; do
        rm -f "$netd/$name"
    done
}

restore_bak() {
    for path in "$netd"/*.cilium_bak; do
        [ -e "$path" ] || continue
        target=${path%.cilium_bak}
        if [ -e "$target" ]; then rm -f "$path"; else ln "$path" "$target" && rm -f "$path"; fi
    done
}

in_force() { # the CNI file that a runtime reads: the first by name of its kinds
    for path in "$netd"/*; do
        case $path in
        *.conf | *.conflist | *.json) if [ -f "$path" ]; then echo "${path##*/}"; return; fi ;;
        esac
    done
}

await_first() { # NAME: wait until that file is in force, or for so long; the report tells which it was
    left=$((await_seconds * 5))
    while [ "$left" -gt 0 ] && [ "$(in_force)" != "$1" ]; do
        if sleep 0.2 2>/dev/null; then left=$((left - 1)); else sleep 1; left=$((left - 5)); fi
    done
}

free_leases() { # LIST: addresses whose leases go, and portmap's ways to them
    each "$1" | while read -r address; do
        rm -f "$root$leases/$address"
    done
    [ -z "$1" ] || remove_ports "$(host_ports_to "$(each "$1" | sed 's/[.]/\\./g' | joined '|')")"
}

keep_leases() { # LIST: addresses whose leases stay
    lease_names | while read -r address; do
        case ",$1," in
        *",$address,"*) ;;
        *) rm -f "$root$leases/$address" ;;
        esac
    done
}

remove_empty() { # FOLDER: unless something is in it
    rmdir "$1" 2>/dev/null || rm -d "$1" 2>/dev/null || true
}

mounted() { # PATH [TYPE]: what is mounted there or below; deeper ones first
    sed -n "s/^[^ ]* [^ ]* [^ ]* [^ ]* \([^ ]*\) .* - ${2:-[^ ]*} .*/\1/p" "$mounts" | sort -r | while read -r path; do
        case $path in "$1" | "$1"/*) echo "$path" ;; esac
    done
}

# calico-node mounts the host's cgroups in /run/calico/cgroup, whatever it uses them for (node/pkg/nodeinit, every canal.yaml
# since 3.22): nothing in there may be removed. Unmounted here it is so for this pod alone; when the folder goes, the kernel
# takes the host's own mount from it. Calico's image has chroot only inside of coreutils' one binary.
unmount() { # FOLDER: the cgroups that are mounted in it; another file system there is somebody's own
    mounted "$root$1" cgroup2 | while read -r path; do
        inside=${path#"$root"}
        umount "$path" 2>/dev/null || chroot "$root" umount "$inside" 2>/dev/null ||
            coreutils --coreutils-prog=chroot "$root" umount "$inside" 2>/dev/null || true
    done
}

remove_tree() { # PATH: with all that is in it; what is still mounted there stays, with the folders that lead to it
    if [ -z "$(mounted "$1")" ]; then
        rm -rf "$1"
        return
    fi
    for entry in "$1"/* "$1"/.[!.]*; do
        if [ -e "$entry" ] && [ "$(mounted "$entry" | sed -n '$p')" != "$entry" ]; then remove_tree "$entry"; fi
    done
}

remove_links() { # PATTERN; deleting one end of a pair takes the other along, so a link that is gone is no failure
    links | { grep -E "$1" || true; } | while read -r link; do
        run ip link del dev "$link" 2>/dev/null || true
    done
    left=$(links | grep -E "$1" || true)
    [ -z "$left" ] || fail "links are still there: $(echo "$left" | joined ' ')"
}

remove_routes() { # routes into Canal's network that no link took along; with --ip-blackhole-route, as RKE2 has it, one of its own
    family=-4
    case $canal_cidr in *:*) family=-6 ;; esac
    pod_routes | while read -r route second _; do
        case $route in
        '') ;;
        blackhole | unreachable | prohibit) run ip "$family" route del "$route" "$second" 2>/dev/null || true ;;
        *) run ip "$family" route del "$route" 2>/dev/null || true ;;
        esac
    done
}

# The agent has packets of its proxy routed by tables of their own, and puts the rule for the node's own addresses behind
# those (cilium, pkg/proxy/routes.go and NodeEnsureLocalRoutingRule, 1.15 to 1.20).
remove_routing_rules() {
    for family in -4 -6; do
        { run ip "$family" rule show 2>/dev/null || true; } |
            sed -n 's/^\([0-9]*\):.* fwmark 0x[2ab]00\/0xf00 lookup \(200[45]\)\( .*\)\{0,1\}$/\1 \2/p' |
            while read -r preference table; do
                run ip "$family" rule del pref "$preference" table "$table" 2>/dev/null || true
                run ip "$family" route flush table "$table" 2>/dev/null || true
            done
        local_rule "$family" 100 || continue
        local_rule "$family" 0 || run ip "$family" rule add pref 0 table local 2>/dev/null || true
        if local_rule "$family" 0; then run ip "$family" rule del pref 100 table local 2>/dev/null || true; fi
    done
}

local_rule() { # FAMILY PREFERENCE: whether the rule for the node's own addresses is there
    { run ip "$1" rule show 2>/dev/null || true; } | grep -Eq "^$2:[[:space:]]+from all lookup local[[:space:]]*\$"
}

# Until 0.20 flannel had no chains: its rules stand in the kernel's own, from 0.16 on with a comment, before without one
# (network/iptables.go of these versions). Those are flannel's where all are there that it lays; the one that tells goes last.
remove_flannel_rules() {
    remove_rules '[A-Z]* .*--comment "\{0,1\}flanneld\{0,1\} \(masq\|forward\)'
    own=$(echo "$flannel_network" | sed 's/[.]/\\./g')
    tells="POSTROUTING ! -s $own -d [0-9a-f.:/]* -j RETURN"
    [ -n "$own" ] && for family in $(iptables_families); do nat_rules "$family"; done | grep -q "^-A $tells\$" || return 0
    for rule in "FORWARD -s $own -j ACCEPT" "FORWARD -d $own -j ACCEPT" "POSTROUTING -s $own -d $own -j RETURN" \
        "POSTROUTING -s $own ! -d [0-9a-f.:/]* -j MASQUERADE" "POSTROUTING ! -s $own -d $own -j MASQUERADE" "$tells"; do
        remove_rules "$rule\( --random-fully\)\{0,1\}\$"
    done
}

await_ended() { # NAME: what a pod ran may outlive it for some seconds, if its grace period is 0
    tries=30
    while grep -qx "$1" "$root"/proc/[0-9]*/comm 2>/dev/null; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "$1 still runs"
        sleep 1
    done
}

remove_chains() { # PATTERN; somebody else's change of the same table may cross ours, so it is tried some times
    for pause in 0 1 1 2 3; do
        sleep "$pause"
        try_remove_chains "$1"
        [ -n "$(chains "$1")" ] || return 0
    done
    fail "chains are still there: $(chains "$1" | joined ';')"
}

try_remove_chains() { # PATTERN: the rules that jump there, then the chains; one transaction per table
    chains "$1" | sed 's/ [^ ]*$//' | sort -u | while read -r family table; do
        names=$(chains "$1" | sed -n "s/^$family $table //p" | sort -u)
        any=$(echo "$names" | joined '|')
        {
            echo "*$table"
            run "$family-save" -t "$table" | { grep -E -- "^-A .*-[jg] ($any)( |\$)" || true; } | sed 's/^-A /-D /'
            echo "$names" | sed 's/^/-F /'
            echo "$names" | sed 's/^/-X /'
            echo COMMIT
        } | run "$family-restore" --noflush || true
    done
}

# From Canal's pods to Cilium's: neither flannel nor Cilium may hide who calls, or policies meet a stranger. What goes
# through a node port has kube-proxy's mark, and needs the node's address.
# From the node itself: Cilium knows its kubelet by a mark (0xc00 of 0xf00, bpf/lib/common.h) that its last rule of
# filter OUTPUT sets. In transit that rule stands behind everybody else's, and who accepts earlier there (kube-router's
# firewall, a host's own) would make a stranger of the kubelet: its probes of pods under a policy failed. Nat comes first.
lay_rules() {
    if [ -z "$canal_cidr" ] || [ -z "$cilium_cidr" ]; then fail "the pod networks are not known"; fi
    families=$(rule_families)
    [ -n "$families" ] || fail "there is no iptables to lay the rule with"
    for family in $families; do
        for pause in 0 1 1 2 3; do # somebody else's change of the same table may cross ours
            sleep "$pause"
            if stands "$family"; then break; fi
            {
                echo '*nat'
                our_rules "$family" | sed 's/^-A /-D /'
                echo "-I POSTROUTING 1 -s $canal_cidr -d $cilium_cidr -m comment --comment cni-migrate -m mark ! --mark 0x4000/0x4000 -j ACCEPT"
                echo "-I OUTPUT 1 -m comment --comment cni-migrate -m mark --mark 0x0/0xf00 -j MARK --set-xmark 0xc00/0xf00"
                echo COMMIT
            } | run "$family-restore" --noflush || true
        done
        stands "$family" || fail "the rules for calls from $canal_cidr and the node to $cilium_cidr do not stand in $family"
    done
}

# Somebody may flush the table (a firewall that is loaded anew). That the rule stands is told by a file, for a probe.
keep_rules() {
    trap 'exit 0' TERM
    while :; do
        if (lay_rules); then : >"$kept"; else rm -f "$kept"; fi
        sleep "$keep_seconds" &
        wait "$!" || true
    done
}

remove_our_rules() {
    remove_rules '[A-Z]* .*--comment "\{0,1\}cni-migrate"\{0,1\} '
}

# Iptables-legacy gives up at once while another program has its lock, and a change of the same table may cross ours.
remove_rules() { # PATTERN of chain and rule: of the kernel's own chains, also those that jump nowhere
    for pause in 0 1 1 2 3; do
        sleep "$pause"
        left=
        for family in $(iptables_families); do
            rules=$({ run "$family-save" 2>/dev/null || true; } |
                sed -n -e '/^\*/p' -e '/^COMMIT/p' -e "\\%^-A $1%s/^-A /-D /p")
            case $rules in *"
-D "*) printf '%s\n' "$rules" | run "$family-restore" --noflush || left="$left$rules
" ;; esac
        done
        [ -n "$left" ] || return 0
    done
    fail "rules are still there: $(printf '%s' "$left" | sed -n 's/^-D //p' | sed -n '1,5p' | joined ';')"
}

remove_tables() { # nftables' tables of Canal's
    tables | while read -r _ family table; do
        run nft delete table "$family" "$table" || true
    done
    [ -z "$(tables)" ] || fail "nftables' tables are still there: $(tables | joined ';')"
}

remove_sets() { # Calico's ipsets, once no rule asks for them; one may be a member of another
    for set in $(sets) $(sets); do
        run ipset destroy "$set" 2>/dev/null || true
    done
    left=$(sets)
    [ -z "$left" ] || fail "ipsets are still there: $(echo "$left" | joined ' ')"
}

calico_was_here() { # its state goes last
    [ -e "$root$nodename" ] || [ -n "$(chains 'cali-[^ ]*')" ]
}

remove_calico() { # what felix lays in either kind of iptables or in nftables, its sets, and what is on the disk
    if calico_was_here && ! here ipset; then fail "there is no ipset to remove Calico's sets with: set host_task.image"; fi
    rm -f "$netd/$calico_kubeconfig"
    rm -rf "${netd:?}/$calico_tls"
    await_ended calico-node
    remove_tables
    remove_rules '[A-Z]* .*--comment "\{0,1\}cali:'
    remove_chains 'cali-[^ ]*'
    remove_sets
    for folder in $calico_folders; do
        unmount "$folder"
        remove_tree "${root:?}$folder"
    done
    remove_empty "$root$node_agent"
    for folder in $flex_volumes; do # Calico's driver for volumes, until 3.22; RKE2 has it still
        rm -f "$root$folder/nodeagent~uds/uds"
        remove_empty "$root$folder/nodeagent~uds"
    done
}

# Behind a network's plugin portmap opens host ports. A pod that ends while another plugin is in force leaves its chain, and
# the first one in the list is asked. Each rule names its network: those of pods on another one stay.
remove_host_ports() { # NETWORK: its own, those that nobody jumps to, and where nothing stays portmap's own chains, too
    stays=$(host_port_jumps | grep -vF "name: \\\"$1\\\"" | sed 's/.*-j //' | sort -u)
    remove_ports "$(chains 'CNI-DN-[0-9a-f]+' | sed 's/.* //' | sort -u | grep -vxF "$stays" || true)"
    [ -n "$stays" ] || remove_chains 'CNI-HOSTPORT-(DNAT|MASQ|SETMARK)'
}

free_host_ports() { # NETWORK: no pod is on it any more
    remove_ports "$(host_port_jumps | { grep -F "name: \\\"$1\\\"" || true; } | sed 's/.*-j //' | sort -u)"
}

host_port_jumps() { # the list in which portmap looks for who has a port
    nat_of_all | grep -E -- '^-A CNI-HOSTPORT-DNAT .*-j CNI-DN-' || true
}

host_ports_to() { # PATTERN: portmap's chains that lead to such an address
    nat_of_all | sed -n -E "s/^-A (CNI-DN-[0-9a-f]+) .*--to-destination ($1):.*/\1/p" | sort -u
}

nat_of_all() {
    for family in $(iptables_families); do run "$family-save" -t nat 2>/dev/null || true; done
}

remove_ports() { # CHAINS, one per line
    [ -z "$1" ] || remove_chains "$(echo "$1" | joined '|')"
}

remove_flannel() { # LIST: Canal's files in the CNI folder
    # The configuration goes first: no pod may start on a network that is being taken down.
    canal_files | while read -r name; do
        other=$(name_in "$netd/$name")
        [ -z "$other" ] || rm -rf "$root${leases%/*}/$other" "$root$results/$other"-*
        rm -f "$netd/$name"
    done
    remove_files "$1"
    await_ended flanneld # it would lay its links and chains anew
    rm -f "$netd"/*.cilium_bak
    remove_links "^($flannel_links)\$"
    remove_routes
    remove_flannel_rules
    remove_chains 'FLANNEL-(FWD|POSTRTG)'
    remove_host_ports "$network"
    rm -f "$root$subnet_env" "$root$bin_folder/flannel" "$root$bin_folder/calico" "$root$bin_folder/calico-ipam"
    rm -rf "$root$leases" "$root$flannel_state"
    rm -f "$root$results/$network"-*
    remove_empty "$root${subnet_env%/*}"
    remove_calico
}

remove_multus() { # LIST: Multus's files in the CNI folder
    remove_files "$1"
    rm -f "$root$bin_folder/multus" "$root$bin_folder/passthru" "$root$results"/multus-cni-network-*
    rm -rf "$root$multus_state"
}

remove_cilium() { # LIST: files in the CNI folder besides those that have Cilium's name
    remove_files "$1"
    await_ended cilium-agent
    rm -f "$netd"/*cilium*.conflist "$root$bin_folder/cilium-cni"
    rm -rf "$root$cilium_state"
    rm -f "$root$cilium_sysctls"
    remove_links '^(cilium_(host|net|vxlan|geneve)|lxc.*)$'
    remove_routing_rules
    remove_chains '(OLD_)?CILIUM_[^ ]*'
    remove_host_ports portmap # so Cilium calls the network in whose file portmap is chained behind it
}

# --- the report -------------------------------------------------------------------------------------------------------

quoted() { # MAX: lines as the inside of a JSON list, at most MAX of them
    sed -n "1,${1}p" | sed 's/[\\"]/\\&/g; s/.*/"&"/' | joined ','
}

report() {
    files=$(for path in "$netd"/*; do [ -f "$path" ] && echo "${path##*/}"; done | sort || true)
    left=$(for path in "$bin_folder/calico" "$bin_folder/calico-ipam" "$bin_folder/flannel" "$bin_folder/multus" \
        "$bin_folder/passthru" "$flannel_state" "$multus_state" $calico_folders "$leases"; do
        [ -e "$root$path" ] && echo "$path"
    done
        [ -z "$(sets)" ] || echo "ipset cali*"
        tables | sed 's/^table/nft table/'
        for kept in "$network" multus-cni-network; do
            for path in "$root$results/$kept"-*; do [ -e "$path" ] && echo "$results/$kept-*" && break; done
        done || true)
    links=$(our_links)
    addresses=$(lease_names)
    names=$(chains '(FLANNEL-|cali-|CNI-HOSTPORT-|(OLD_)?CILIUM_)[^ ]*' | sed 's/.* //' | sort -u)
    cut=
    if more_than 25 "$files"; then cut="$cut,\"files\""; fi
    if more_than 30 "$links"; then cut="$cut,\"links\""; fi
    if more_than 100 "$addresses"; then cut="$cut,\"leases\""; fi
    if more_than 25 "$names"; then cut="$cut,\"chains\""; fi
    if routed; then routes=true; else routes=false; fi
    printf '{"files":[%s],"lacks":[%s],"routed":%s,"links":[%s],"leases":[%s],"chains":[%s],"rules":[%s],"left":[%s]%s}\n' \
        "$(echo "$files" | sed '/^$/d' | quoted 25)" "$(lacks | quoted 5)" "$routes" "$(echo "$links" | sed '/^$/d' | quoted 30)" \
        "$(echo "$addresses" | sed '/^$/d' | quoted 100)" "$(echo "$names" | sed '/^$/d' | quoted 25)" \
        "$(rules | quoted 5)" "$(echo "$left" | sed '/^$/d' | quoted 15)" "${cut:+,\"cut\":[${cut#,}]}"
}

fail() { # TEXT [CODE]
    printf '{"error":"%s"}\n' "$(echo "$1" | joined ' ' | sed 's/["\\]//g')" | tee "$message" >&2
    exit "${2:-1}"
}

value_of() { # OPERATION DEFAULT: what is behind the '=', or DEFAULT
    case $1 in *=*) echo "${1#*=}" ;; *) echo "$2" ;; esac
}

# Nothing is touched unless every operation is known.
for operation in "$@"; do
    case $operation in
    *[!A-Za-z0-9._:,=-]* | *..*) fail "not an operation: $operation" 2 ;;
    status | restore-bak | lay-rules | keep-rules | remove-rules | await-first=?* | remove-cni=?* | keep-leases=* | free-leases=* | free-host-ports | free-host-ports=?*) ;;
    remove-flannel | remove-flannel=* | remove-multus | remove-multus=* | remove-cilium | remove-cilium=*) ;;
    *) fail "unknown operation: $operation" 2 ;;
    esac
done

current=start
trap '[ "$?" -eq 0 ] || [ -s "$message" ] || printf "{\"error\":\"failed: %s\"}\n" "$current" >"$message"' EXIT
for operation in "$@"; do
    current=$operation
    case $operation in
    status) ;;
    restore-bak) restore_bak ;;
    lay-rules) lay_rules ;;
    keep-rules) keep_rules ;;
    remove-rules) remove_our_rules ;;
    remove-cni=*) remove_files "${operation#*=}" ;;
    await-first=*) await_first "${operation#*=}" ;;
    keep-leases=*) keep_leases "${operation#*=}" ;;
    free-leases=*) free_leases "${operation#*=}" ;;
    free-host-ports*) free_host_ports "$(value_of "$operation" "$network")" ;;
    remove-flannel*) remove_flannel "$(value_of "$operation" "$canal_file")" ;;
    remove-multus*) remove_multus "$(value_of "$operation" "$multus_file")" ;;
    remove-cilium*) remove_cilium "$(value_of "$operation" "")" ;;
    esac
done
current=report
report | tee "$message"
