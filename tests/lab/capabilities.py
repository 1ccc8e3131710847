"""Capabilities that this machine has not got: containers that ask for one by name do without.

A virtual machine or a container that the lab runs in may have been given fewer than there are. runc refuses a container
that asks for more, and Cilium's chart asks for some by name. (What is `privileged` gets those that there are.)
"""

from pathlib import Path

NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
"""By their number, as capabilities(7) and the kernel's header have them."""


def missing(status: str) -> list[str]:
    """Which of them a process can never have, by the text of its /proc/PID/status."""
    found = next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
    bounds = int(found, 16)
    return [f"CAP_{name}" for number, name in enumerate(NAMES) if not bounds >> number & 1]


def runc(without: list[str]) -> str:
    """A script in runc's place that takes capabilities out of what a container, or a process in one, is to have."""
    edits = [edit for name in without for edit in (f's/"{name}",//g', f's/,"{name}"//g', f's/"{name}"//g')]
    return f"""\
#!/bin/sh
# What is asked of runc, without capabilities that this machine has not got.
before=
for word; do
  case $before in
    --bundle) sed -i -e '{"' -e '".join(edits)}' "$word/config.json" ;;
    --process) sed -i -e '{"' -e '".join(edits)}' "$word" ;;
  esac
  before=$word
done
exec runc "$@"
"""


def write_runc(path: Path) -> bool:
    """Write that script where this machine needs it; whether it does."""
    without = missing(Path("/proc/self/status").read_text())
    if without:
        path.write_text(runc(without))
        path.chmod(0o755)
    return bool(without)
