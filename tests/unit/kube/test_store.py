"""What a store shows when lists, events and answers to own writes arrive in any order."""

from typing import Any

from cni_migrate.core.model.objects import Node, Pod
from cni_migrate.kube import views
from cni_migrate.kube.store import PodStore, Store, by_name


def pod(version: int, *, uid: str = "u1", name: str = "p", node: str = "n1", **meta: Any) -> dict[str, Any]:
    owner = [{"kind": "ReplicaSet", "name": "rs", "uid": "rs1", "controller": True}]
    return {
        "metadata": {
            "namespace": "web", "name": name, "uid": uid, "resourceVersion": str(version), "ownerReferences": owner,
            **meta,
        },
        "spec": {"nodeName": node} if node else {},
    }  # fmt: skip


def leaving(version: int, **parts: Any) -> dict[str, Any]:
    return pod(version, deletionTimestamp="2030-01-01T00:00:00Z", **parts)


KEY = ("web", "p")


class Watched:
    """A pod store that counts its changes."""

    def __init__(self) -> None:
        self.changes = 0
        self.store = PodStore(views.pod, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def refill(self, version: int, *items: dict[str, Any], since: int | None = None) -> None:
        at = self.store.tick() if since is None else since
        self.store.refill([self.store.entry(item) for item in items], str(version), at)

    def shown(self) -> Pod:
        return self.store.views[KEY]


def test_pods_are_found_by_node_and_by_owner() -> None:
    watched = Watched()
    watched.refill(10, pod(5), pod(6, uid="u2", name="q"), pod(7, uid="u3", name="r", node=""))
    assert [one.name for one in watched.store.on("n1")] == ["p", "q"]
    assert [one.name for one in watched.store.on("")] == ["r"]
    assert len(watched.store.of("rs1")) == 3
    watched.store.seen(pod(11, uid="u3", name="r", node="n2"))
    assert not watched.store.on("")
    assert [one.name for one in watched.store.on("n2")] == ["r"]
    watched.store.gone(pod(12))
    assert [one.name for one in watched.store.on("n1")] == ["q"]
    watched.store.gone(pod(13, uid="u2", name="q"))
    assert not watched.store.on("n1")
    assert not watched.store.on("no such node")


def test_an_owners_pods_that_are_not_ready_are_found_without_looking_at_the_others() -> None:
    """Neither Ready nor being deleted: as each becomes so, is replaced, leaves or is gone."""
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}

    def told() -> list[str]:
        return [one.name for one in watched.store.unready("rs1")]

    watched = Watched()
    watched.refill(10, {**pod(5), "status": ready}, pod(6, uid="u2", name="q"), leaving(7, uid="u3", name="r"))
    assert told() == ["q"]
    watched.store.seen(pod(11))
    assert told() == ["q", "p"]
    watched.store.seen({**pod(12, uid="u2", name="q"), "status": ready})
    assert told() == ["p"]
    watched.store.leaving(KEY, "u1")
    assert told() == []
    watched.store.gone(pod(13, uid="u2", name="q"))
    assert told() == []


def test_an_older_event_is_ignored() -> None:
    watched = Watched()
    watched.refill(10, pod(8))
    watched.store.fold(pod(20, labels={"a": "new"}))
    watched.store.seen(pod(15, labels={"a": "old"}))
    assert watched.shown().labels == {"a": "new"}
    watched.store.seen(pod(21, labels={"a": "newest"}))
    assert watched.shown().labels == {"a": "newest"}


def test_versions_are_compared_as_numbers() -> None:
    watched = Watched()
    watched.refill(10, pod(9, labels={"a": "old"}))
    watched.store.seen(pod(10, labels={"a": "new"}))
    assert watched.shown().labels == {"a": "new"}


def test_where_versions_are_no_numbers_the_latest_wins() -> None:
    watched = Watched()
    watched.store.seen(pod(1, resourceVersion="abc", labels={"a": "1"}))
    watched.store.seen(pod(1, resourceVersion="abb", labels={"a": "2"}))
    assert watched.shown().labels == {"a": "2"}


def test_a_list_drops_what_it_does_not_have_but_not_what_is_newer() -> None:
    watched = Watched()
    watched.refill(10, pod(5), pod(6, uid="u2", name="q"))
    watched.store.fold(pod(30, uid="u3", name="made-by-us"))
    watched.refill(20, pod(5))
    assert {key[1] for key in watched.store.views} == {"p", "made-by-us"}
    watched.refill(31, pod(5))
    assert {key[1] for key in watched.store.views} == {"p"}


def test_a_list_from_the_past_is_a_restored_server() -> None:
    watched = Watched()
    watched.refill(100, pod(90, labels={"a": "lost"}))
    watched.refill(50, pod(40, labels={"a": "restored"}))
    assert watched.shown().labels == {"a": "restored"}
    watched.store.seen(pod(51, labels={"a": "next"}))
    assert watched.shown().labels == {"a": "next"}


def test_an_evicted_pod_is_leaving_until_an_event_says_so() -> None:
    watched = Watched()
    watched.refill(10, pod(5))
    watched.store.leaving(KEY, "u1")
    assert watched.shown().deleting
    watched.store.seen(pod(11, labels={"late": "status"}))  # an event from before the eviction
    assert watched.shown().deleting
    assert watched.shown().labels == {"late": "status"}
    assert next(iter(watched.store.on("n1"))).deleting
    watched.refill(12, pod(11))  # a list that was asked for before the eviction
    assert watched.shown().deleting
    watched.store.seen(leaving(13))
    assert watched.shown().deleting


def test_the_mark_is_the_pods_not_the_names() -> None:
    """A StatefulSet's next pod has the same name."""
    watched = Watched()
    watched.refill(10, pod(5))
    watched.store.leaving(KEY, "u1")
    watched.store.gone(leaving(12))
    watched.store.seen(pod(13, uid="u9"))
    assert not watched.shown().deleting
    watched.store.leaving(KEY, "u1")
    assert not watched.shown().deleting


def test_an_eviction_of_a_pod_that_is_not_known_marks_nothing() -> None:
    watched = Watched()
    watched.store.leaving(KEY, "u1")
    watched.store.seen(pod(5))
    assert not watched.shown().deleting


def test_the_end_of_a_former_pod_does_not_take_its_successor_away() -> None:
    watched = Watched()
    watched.refill(10, pod(5))
    watched.store.fold(pod(20, uid="u2"))
    watched.store.gone(leaving(15))
    assert watched.shown().uid == "u2"


def test_what_we_deleted_stays_away_until_its_end_is_seen() -> None:
    watched = Watched()
    watched.refill(10, pod(5))
    watched.store.forget(KEY, "u1")
    assert KEY not in watched.store.views
    watched.store.seen(pod(11))
    assert KEY not in watched.store.views
    watched.store.gone(pod(12))
    watched.store.seen(pod(13, uid="u2"))
    assert watched.shown().uid == "u2"


def test_what_a_later_list_still_has_was_not_deleted() -> None:
    """A finalizer holds it."""
    watched = Watched()
    watched.refill(10, pod(5))
    early = watched.store.tick()
    watched.store.forget(KEY, "u1")
    watched.refill(12, pod(5), since=early)
    assert KEY not in watched.store.views
    watched.refill(13, pod(5))
    assert KEY in watched.store.views


def test_the_answer_to_a_write_does_not_raise_the_dead() -> None:
    watched = Watched()
    watched.refill(10, pod(5))
    watched.store.gone(leaving(20))
    watched.store.fold(pod(15))
    assert KEY not in watched.store.views
    watched.store.fold(pod(21, uid="u2"))
    assert watched.shown().uid == "u2"


def test_only_what_matters_wakes() -> None:
    watched = Watched()
    watched.refill(10, pod(5))
    before = watched.changes
    watched.store.seen(pod(6))
    assert watched.changes == before
    watched.store.seen(pod(7, labels={"a": "b"}))
    assert watched.changes == before + 1


def test_what_does_not_matter_is_still_taken_over() -> None:
    """A write needs the latest version, though nobody has to be woken for it."""
    changes: list[None] = []
    same = lambda old, new: old.labels == new.labels  # noqa: E731
    store: Store[str, Node] = Store(views.node, by_name, lambda: changes.append(None), same=same)
    store.seen({"metadata": {"name": "n", "resourceVersion": "1"}})
    store.seen({"metadata": {"name": "n", "resourceVersion": "2"}})
    assert len(changes) == 1
    assert store.views["n"].resource_version == "2"


def test_a_kind_that_is_gone_is_empty() -> None:
    watched = Watched()
    watched.refill(10, pod(5))
    watched.store.clear()
    assert not watched.store.views
    assert not watched.store.on("n1")
    watched.refill(3, pod(2))
    assert watched.shown().uid == "u1"
