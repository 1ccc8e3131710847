"""`--waive` typed: what is waived is shown and recorded with who, what cannot be waived is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cni_migrate.sim.scenario import Scenario
from tests.cli.conftest import QUICK, Served, Typed, a_record

Make = Callable[..., Served]
On = Callable[[Served], Typed]

BUDGET = "BUDGET_CLOSED:bank/ledger"


def _findings(typed: Typed, *arguments: str) -> tuple[int, bool, list[dict[str, Any]]]:
    ended = typed("preflight", "-o", "json", *arguments)
    data = json.loads(ended.out)
    return ended.code, data["passed"], [one for one in data["findings"] if one["id"] == "BUDGET_CLOSED"]


def test_a_blocker_is_waived_by_name(on: On, served: Make, tmp_path: Path) -> None:
    """By flag or in the file, for preflight and for a run, which notes who has waived what."""
    typed = on(served("pdb-deadlock"))
    code, passed, found = _findings(typed)
    assert (code, passed, [one["waived"] for one in found]) == (3, False, [False])
    refused = typed("preflight")
    assert refused.out.startswith("context simulator (http://127.0.0.1:"), "which cluster it is comes first"
    assert "nodes\n" in refused.out.splitlines(keepends=True)[0]
    assert "--waive" in refused.err
    assert "failed, nothing was changed: BUDGET_CLOSED\n" in refused.err, "what it is about was just shown"

    code, passed, found = _findings(typed, "--waive", BUDGET)
    assert (code, passed, [one["waived"] for one in found]) == (0, True, [True])
    shown = typed("preflight", "--waive", BUDGET, "--waive", "DUAL_STACK")
    assert shown.code == 0, shown.err
    assert "WAIVED  BUDGET_CLOSED" in shown.out
    assert "1 waived" in shown.out
    assert "nothing of it was found: DUAL_STACK" in shown.out

    file = tmp_path / "config.yaml"
    file.write_text(f"{QUICK}preflight: {{waive: [{BUDGET}]}}\n", encoding="utf-8")
    assert _findings(typed, "--config", str(file))[:2] == (0, True)
    assert _findings(typed, "--config", str(file), "--waive", "DUAL_STACK")[:2] == (3, False)

    ran = typed("run", "--yes", "--strategy", "overlay", "--until", "preparing", "--config", str(file))
    assert ran.code == 0, ran.err
    assert "WAIVED  BUDGET_CLOSED" in ran.err
    lines = [line for line in json.loads(typed("status", "-o", "json").out)["history"] if "waived" in line["what"]]
    assert len(lines) == 1
    assert lines[0]["at"]
    assert "@" in lines[0]["what"].partition(": ")[0]
    assert "BUDGET_CLOSED: no eviction is allowed now" in lines[0]["what"]
    assert "bank/ledger" in lines[0]["what"]


def test_a_closed_port_is_found_by_a_run_and_waived(on: On, served: Make, tmp_path: Path) -> None:
    """Preflight says who will try it, and does not call a waiver of it idle; the next run takes the word and tells who."""
    typed = on(served("closed-port"))
    looked = typed("preflight", "--waive", "FIREWALL:w2")
    assert looked.code == 0, looked.err
    assert "`migrate run` tries it" in " ".join(looked.out.split())
    assert "nothing of it was found" not in looked.out
    file = tmp_path / "config.yaml"
    file.write_text(QUICK, encoding="utf-8")
    arguments = ("run", "--yes", "--strategy", "overlay", "--until", "preparing", "--config", str(file))
    held = typed(*arguments)
    assert held.code == 6
    assert "w1 -> w2, w2 -> w1" in " ".join(held.err.split())
    going = typed(*arguments, "--waive", "FIREWALL:w2")
    assert going.code == 0, going.err
    lines = [line["what"] for line in json.loads(typed("status", "-o", "json").out)["history"]]
    assert any(line.startswith("waived by ") and line.endswith(": FIREWALL:w2") for line in lines)


@pytest.mark.parametrize("command", [("preflight",), ("run", "--yes"), ("run", "--dry-run")])
@pytest.mark.parametrize(
    ("waiver", "says"),
    [("BUDGET_CLOSE", "did you mean BUDGET_CLOSED?"), ("OTHER_CILIUM", "OTHER_CILIUM cannot be waived: two of them")],
)
def test_what_cannot_be_waived_is_refused(
    on: On, untouched: Served, command: tuple[str, ...], waiver: str, says: str
) -> None:
    """Exit code 2, and nothing is written."""
    before = untouched.writes
    ended = on(untouched)(*command, "--waive", waiver)
    assert (ended.code, says in ended.err, untouched.writes) == (2, True, before), ended.err


def test_a_policy_that_would_be_open(on: On, served: Make) -> None:
    """A default deny for one pod of a StatefulSet chooses it by a label that Cilium does not look at."""
    spec = {"podSelector": {"matchLabels": {"statefulset.kubernetes.io/pod-name": "db-0"}}, "policyTypes": ["Ingress"]}
    policy = {"metadata": {"name": "closed", "namespace": "default"}, "spec": spec}
    typed = on(served(Scenario.model_validate({"nodes": 3, "network_policies": [policy]})))
    ended = typed("run", "--yes")
    assert (ended.code, "NetworkPolicy default/closed: podSelector by statefulset" in ended.err) == (3, True), ended.err
    assert typed("preflight", "--waive", "POLICIES_LABELS").code == 0


def test_what_comes_next_has_the_waivers_that_were_typed(on: On, served: Make) -> None:
    """Without them it would be refused: behind the checks, behind a dry run, and where something else is to be mended."""
    typed = on(served("pdb-deadlock"))
    passed = typed("preflight", "--waive", BUDGET, "--force")
    assert passed.out.splitlines()[-1] == f"next: migrate plan --force, then migrate run --waive {BUDGET} --force"
    for command in (("preflight",), ("run", "--yes")):
        refused = typed(*command, "--waive", "DUAL_STACK")
        assert refused.code == 3
        assert f"`migrate {command[0]} --waive DUAL_STACK` again" in refused.err
    dry = typed("run", "--dry-run", "--waive", "DUAL_STACK").out.splitlines()[-1]
    assert dry.startswith("next: fix what is named above, then `migrate run --waive DUAL_STACK`; "), dry


def test_a_dry_run_of_what_the_checks_refuse_does_not_send_on(on: On, served: Make) -> None:
    """`migrate run` would end with exit code 3."""
    typed = on(served("same-port"))
    dry = typed("run", "--dry-run")
    assert "BLOCKER TUNNEL_PORT" in dry.out
    assert dry.out.splitlines()[-1].startswith("next: fix what is named above, then `migrate run`")
    assert typed("run", "--yes").code == 3


def test_a_slip_in_the_file_is_told_with_its_line(migrate: Typed, tmp_path: Path) -> None:
    """As any other key of the configuration."""
    file = tmp_path / "config.yaml"
    file.write_text("preflight:\n  waive: [DUALSTACK]\n", encoding="utf-8")
    ended = migrate("preflight", "--config", str(file))
    assert ended.code == 2
    assert "config.yaml, line 2: there is no preflight check 'DUALSTACK'; did you mean DUAL_STACK?" in ended.err


def test_what_a_run_waived_that_ended_before_the_migration_began_need_not_be_typed_again(on: On, served: Make) -> None:
    """A run that was killed behind its checks: the next one goes on with what the operator had said."""
    there = served("pdb-deadlock")
    assert _findings(on(there))[:2] == (3, False)
    there.config_map("cni-migrate-record", a_record(phase="preflight", waived=[BUDGET]))
    assert _findings(on(there))[:2] == (0, True)


def test_a_waiver_in_the_record_that_there_is_not_is_refused(on: On, served: Make) -> None:
    """The record was edited: what it says, and where that is told."""
    there = served("calm")
    there.config_map("cni-migrate-record", a_record(phase="preflight", waived=["BUDGETS"]))
    ended = on(there)("preflight")
    assert ended.code == 7, ended.err
    assert "the record: there is no preflight check 'BUDGETS'" in ended.err


def test_what_was_waived_is_over_with_a_migration_that_was_rolled_back(on: On, served: Make) -> None:
    """The next one begins anew, and asks."""
    there = served("pdb-deadlock")
    there.config_map("cni-migrate-record", a_record(phase="preflight", direction="back", waived=[BUDGET]))
    assert _findings(on(there))[:2] == (3, False)
