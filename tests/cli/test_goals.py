"""What was typed, as the driver's goal."""

import pytest

from cni_migrate.cli.drain_options import DrainOptions
from cni_migrate.cli.goals import Cleanup, Rollback, RollbackNode, Run, goal_of
from cni_migrate.core.model.lifecycle import NodeState, Phase
from cni_migrate.core.model.objects import Requests
from cni_migrate.errors import Halted, UsageError
from tests.unit.core.builders import a_node, a_plan, a_record, an_entry, seen

PLAN = a_plan()


def test_clean_up_waits_for_a_newcomer() -> None:
    """A node that is not in the record yet, or was made anew, has Canal's pods: clean-up would take its network."""
    record = a_record(PLAN, {"w1": an_entry("w1", NodeState.MIGRATED)}, phase=Phase.MIGRATING)
    assert goal_of(Cleanup(), record, seen(a_node("w1"))).cleans_up
    with pytest.raises(Halted, match="w2 not migrated"):
        goal_of(Cleanup(), record, seen(a_node("w1"), a_node("w2")))
    with pytest.raises(Halted, match="w1 not migrated"):
        goal_of(Cleanup(), record, seen(a_node("w1", uid="another")))


def test_clean_up_in_a_rollback_is_refused_by_what_goes_on() -> None:
    """`migrate run` is refused then."""
    record = a_record(PLAN, {"w1": an_entry("w1", NodeState.DUAL)}, phase=Phase.MIGRATING, direction="back")
    with pytest.raises(Halted, match="is being rolled back") as caught:
        goal_of(Cleanup(), record, seen(a_node("w1")))
    assert caught.value.next == "migrate rollback"


def test_clean_up_that_waits_for_a_skipped_node_names_the_way_on() -> None:
    """A bare `run` would be halted at once."""
    record = a_record(PLAN, {"w1": an_entry("w1", NodeState.DUAL)}, phase=Phase.MIGRATING)
    with pytest.raises(Halted) as caught:
        goal_of(Cleanup(), record, seen(a_node("w1"), requests=Requests(skip={"w1": "noon"})))
    assert caught.value.next == "migrate skip-node --undo w1, then migrate run"


def test_without_a_migration_there_is_nothing_to_clean_up() -> None:
    """Also where one was rolled back."""
    with pytest.raises(UsageError, match="no migration is under way here"):
        goal_of(Cleanup(), None, seen(a_node("w1")))
    assert goal_of(Run(), None, seen(a_node("w1"))).kind == "forward"


def test_what_comes_next_drains_as_was_typed() -> None:
    """A run that was allowed to evict bare pods would be refused without the same words."""
    drain = DrainOptions(force=True, grace_period=30, pod_selector="a=b,c", delete_emptydir_data=False)
    assert drain.words == " --force --grace-period 30 --pod-selector a=b,c"
    typed = Run(nodes="w1", at_once="2", drain=drain.words)
    assert typed.in_scope("migrate run  (resumes)") == (
        "migrate run --nodes w1 --max-unavailable 2 --force --grace-period 30 --pod-selector a=b,c  (resumes)"
    )


def test_nodes_and_labels_that_no_node_has_together_are_refused() -> None:
    """Nobody would be migrated, and the end would say that all who were asked for are."""
    found = seen(a_node("w1"), a_node("w2", labels={"pool": "spot"}))
    assert goal_of(Run(nodes="w1,w2", selector="pool=spot"), None, found).partial
    with pytest.raises(UsageError, match="no node of --nodes w1 has the labels"):
        goal_of(Run(nodes="w1", selector="pool=spot"), None, found)


def test_what_goes_on_behind_the_end_goes_on_in_the_same_way() -> None:
    """With all nodes; what a run was told about them counts for the others as well."""
    typed = Run(
        nodes="w1", until="migrating", drain=" --force", own_node="cp1", auto_rollback=True, waive=("DUAL_STACK",)
    )
    assert typed.onward("migrate run") == "migrate run --own-node cp1 --auto-rollback --force"
    assert typed.in_scope("migrate run") == (
        "migrate run --nodes w1 --until migrating --own-node cp1 --auto-rollback --force"
    )
    assert typed.waivers == " --waive DUAL_STACK"


@pytest.mark.parametrize(
    ("typed", "said", "whole"),
    [
        (Rollback(drain=" --force"), "`migrate rollback` resumes", "`migrate rollback --force` resumes"),
        (Rollback(drain=" --force"), "`migrate rollback-node w1`", "`migrate rollback-node w1`"),
        (
            RollbackNode("w1", "canal", drain=" --timeout 5m"),
            "`migrate rollback-node w1 --to canal` resumes; or `migrate rollback`",
            "`migrate rollback-node w1 --timeout 5m --to canal` resumes; or `migrate rollback`",
        ),
        (RollbackNode("w1", "dual", drain=" --force"), "migrate rollback-node w12", "migrate rollback-node w12"),
    ],
)
def test_a_way_back_goes_on_as_it_was_typed(typed: Rollback | RollbackNode, said: str, whole: str) -> None:
    """Bare pods would be refused again without the same words."""
    assert typed.in_scope(said) == whole
