"""What is typed: `python -m tests.lab COMMAND`."""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from tests.controlplane import kubernetes
from tests.controlplane.build import ControlPlaneMissingError, ensure_binaries
from tests.lab import build, cilium, cluster, guarded, images, measure, nodes, policies
from tests.lab.processes import say
from tests.lab.settings import CILIUM, KUBERNETES, Lab, LabError, default_lab


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m tests.lab", description="A real cluster on this machine.")
    commands = top.add_subparsers(dest="command", required=True)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    add("packages", "print the Debian packages that are missing; nothing when all are there")

    def with_kubernetes(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
        said = (
            f"which Kubernetes: one of {', '.join(kubernetes.RELEASES)}; that of the lab that is up, else {KUBERNETES}"
        )
        sub.add_argument("--kubernetes", metavar="VERSION", choices=kubernetes.RELEASES, help=said)
        return sub

    def with_cilium(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
        said = f"which Cilium: one of {', '.join(cilium.RELEASES)}; that of the lab that is up, else {CILIUM}"
        sub.add_argument("--cilium", metavar="VERSION", choices=cilium.RELEASES, help=said)
        return sub

    with_kubernetes(with_cilium(add("build", "build what is missing")))
    sub = with_cilium(
        add("export", "write the tool's images, with their userland, and configuration for another cluster")
    )
    sub.add_argument("to", type=Path, metavar="FOLDER")
    sub = with_kubernetes(with_cilium(add("up", "build what is missing, then start the cluster")))
    sub.add_argument("--nodes", type=int, default=3)
    network = sub.add_mutually_exclusive_group()
    network.add_argument("--no-canal", action="store_true", help="nodes without a network")
    network.add_argument(
        "--canal", type=Path, metavar="MANIFEST", default=cluster.CANAL, help="another Canal's manifest"
    )
    sub.add_argument("--images", type=Path, metavar="FOLDER", help="archives of images, as `docker save` writes them")
    sub.add_argument("--workloads", action="store_true", help="with the workloads of the tests")
    sub.add_argument("--load", action="store_true", help="with the load under which the published figures are measured")
    add("down", "remove everything; safe to repeat, also after a crash")
    add("status", "show what runs; exit 1 when something does not")
    add("kubeconfig", "print the path of the administrator's kubeconfig")
    add("config", "print the path of the tool's configuration for the lab that is up")
    add("folder", "print the folder of the lab's state and logs")
    add("kubectl", "run kubectl as administrator; all that follows goes to it")
    add("helm", "run Helm as administrator; all that follows goes to it")
    with_cilium(add("chart", "print the path of Cilium's official chart"))
    add("program", "print the path of a program that was built, for example helm").add_argument("name")
    add("exec", "run a command inside a node; all that follows goes to it").add_argument("node")
    sub = add("load", "bring an image's archive to every node")
    sub.add_argument("archive", type=Path)
    add("stop-node", "cut a node's power").add_argument("node")
    add("start-node", "boot a stopped node").add_argument("node")
    sub = add("policies", "tell how many calls end otherwise than a NetworkPolicy says; exit 1 when some do")
    sub.add_argument("--seconds", type=int, metavar="N", help="sample once a second for so long; 0: until interrupted")
    sub = add("measure", "migrate a fresh lab that has its workloads; print what a node cost")
    sub.add_argument("who", choices=measure.WHO)
    sub.add_argument("options", nargs="*", help="after --: options of `migrate run`; for `command`, all of it")
    return top


def _up(lab: Lab, args: argparse.Namespace) -> None:
    here = cluster.built(lab, version=args.cilium, kubernetes=args.kubernetes, given=args.images)
    here.up(args.nodes, canal=None if args.no_canal else args.canal)
    for name in ("workloads", "load"):
        if getattr(args, name):
            here.apply(f"{name}.yaml")
    say(f"export KUBECONFIG={lab.admin} MIGRATE_CONFIG={lab.configuration}")


def _export(lab: Lab, args: argparse.Namespace) -> None:
    build.check_packages()
    release = cilium.release(args.cilium or lab.cilium)
    builds = (build.node(kubernetes.release(lab.kubernetes)), *build.BUILDS, release.build)
    images.export(build.build_programs(lab, builds), release, args.to)


def _policies(here: cluster.Cluster, seconds: int | None) -> int:
    """One look at all calls, or many; whether any was wrong."""
    if not guarded.pods(here):
        guarded.deploy(here)
    if seconds is None:
        found = policies.calls(here)
        wrong = policies.wrong(found)
        say("\n".join([*map(str, wrong), f"{len(wrong)} wrong of {len(found)}"]))
        return 1 if wrong else 0
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts what is in its background without the first one
        signal.signal(number, lambda *_: ended.set())
    with policies.Sampling(here, aloud=True) as sampling:
        ended.wait(seconds or None)
    tally = sampling.tally()
    say(tally.table())
    return 1 if tally.wrong else 0


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """What is ours, and what goes to another program: argparse would take its flags for ours."""
    own = {"kubectl": 1, "helm": 1, "exec": 2}.get(words[0], len(words)) if words else 0
    rest = words[own:]
    return words[:own], rest[1:] if rest[:1] == ["--"] else rest


def _program(lab: Lab, name: str) -> Path:
    """Where a program is, built if need be."""
    builds = (
        build.node(kubernetes.release(lab.kubernetes)),
        *build.BUILDS,
        build.HELM,
        cilium.release(lab.cilium).build,
    )
    if wanted := [item for item in builds if name in item.outputs]:
        return build.build_programs(lab, wanted)[name]
    known = sorted(output for item in builds for output in item.outputs)
    raise LabError(f"the lab has no program {name}; it has {', '.join(known)}")


def _enter(lab: Lab, args: argparse.Namespace, words: list[str]) -> None:
    """Become the command: its exit code is ours."""
    if args.command == "kubectl":
        program = str(ensure_binaries(lab.kubernetes)["kubectl"])
        os.execv(program, ["kubectl", f"--kubeconfig={lab.admin}", *words])
    if args.command == "helm":
        os.environ["KUBECONFIG"] = str(lab.admin)
        os.execv(_program(lab, "helm"), ["helm", *words])
    inside = nodes.command(lab, args.node, words or ["bash"])
    os.execvp(inside[0], inside)


def _load(lab: Lab, args: argparse.Namespace) -> None:
    for name in lab.state()["nodes"]:
        nodes.load(lab, name, args.archive)


def _answer(lab: Lab, args: argparse.Namespace) -> str:
    """What is asked for by one word: a path, most often."""
    match args.command:
        case "packages":
            return " ".join(build.missing_packages())
        case "chart":
            return str(cilium.chart(lab, args.cilium or lab.cilium))
        case "program":
            return str(_program(lab, args.name))
        case _:
            return str({"kubeconfig": lab.admin, "config": lab.configuration, "folder": lab.folder}[args.command])


_ANSWERED = ("packages", "chart", "program", "kubeconfig", "config", "folder")
_WITHOUT_A_LAB = ("packages", "build", "export", "up", "down", "folder", "helm", "chart", "program")


def _dispatch(lab: Lab, args: argparse.Namespace, rest: list[str]) -> int:
    if args.command not in _WITHOUT_A_LAB:
        lab.state()
    match args.command:
        case "build":
            cluster.built(lab, version=args.cilium, kubernetes=args.kubernetes)
            _program(lab, "helm")
        case "export":
            _export(lab, args)
        case "up":
            _up(lab, args)
        case "down":
            cluster.down(lab)
        case answered if answered in _ANSWERED:
            say(_answer(lab, args))
        case "kubectl" | "helm" | "exec":
            _enter(lab, args, rest)
        case "load":
            _load(lab, args)
        case "stop-node":
            nodes.stop(lab, args.node)
        case _:
            return _with_programs(cluster.built(lab), args)
    return 0


def _with_programs(here: cluster.Cluster, args: argparse.Namespace) -> int:
    """The commands that need what was built."""
    match args.command:
        case "status":
            return 0 if here.status() else 1
        case "policies":
            return _policies(here, args.seconds)
        case "measure":
            measure.measure(here, args.who, args.options)
        case _:
            here.start_node(args.node)
    return 0


def main() -> int:
    """The command line; its exit code."""
    own, rest = _split(sys.argv[1:])
    args = _parser().parse_args(own)
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"  # not on every user's
    if os.geteuid() != 0:
        sys.stderr.write("the lab makes namespaces, links and cgroups: it needs root\n")
        return 2
    try:
        return _dispatch(default_lab(), args, rest)
    except BrokenPipeError:  # the reader of our output is gone
        return 1
    except (LabError, ControlPlaneMissingError, kubernetes.UnknownKubernetesError) as error:
        sys.stderr.write(f"lab: {error}\n")
        return 1
