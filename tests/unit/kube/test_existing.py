"""What of a list of objects is there."""

import pytest

from cni_migrate.core.model.objects import ObjectRef
from cni_migrate.errors import ClusterError, RightsMissing
from cni_migrate.kube.existing import Found, existing
from cni_migrate.kube.request import Client
from cni_migrate.sim.clock import run_virtual
from tests.unit.kube.fake_api import FakeApi, FakeServer, LoopClock, Reply, status

NAMESPACE = ObjectRef("v1", "Namespace", "", "mesh")
SETTINGS = ObjectRef("v1", "ConfigMap", "mesh", "settings")
OTHER = ObjectRef("elsewhere.io/v1", "Thing", "mesh", "t")


def ask(*refs: ObjectRef, **replies: Reply) -> dict[ObjectRef, Found]:
    server = FakeServer()
    for name, path in (
        ("namespace", "/api/v1/namespaces/mesh"),
        ("settings", "/api/v1/namespaces/mesh/configmaps/settings"),
    ):
        if name in replies:
            server.on("GET", path, replies[name])
    return run_virtual(existing(Client(FakeApi(server), LoopClock()), refs))


def test_only_what_is_there_is_told() -> None:
    """With its uid and labels, and whether it is on its way out; a kind that is not served is not there."""
    meta = {"uid": "u1", "labels": {"a": "b"}, "deletionTimestamp": "2030-01-01T00:00:00Z"}
    found = ask(NAMESPACE, SETTINGS, OTHER, namespace=(200, {"metadata": meta}))
    assert found == {NAMESPACE: Found("u1", {"a": "b"}, deleting=True)}


def test_an_object_without_labels() -> None:
    """It has none, which is not the same as not being there."""
    found = ask(SETTINGS, settings=(200, {"metadata": {"uid": "u2"}}))
    assert found == {SETTINGS: Found("u2", {}, deleting=False)}


def test_a_refusal_is_not_taken_for_absence() -> None:
    """Neither a missing right nor an error."""
    with pytest.raises(RightsMissing):
        ask(NAMESPACE, namespace=(403, status(403, "Forbidden", 'User "j" cannot get resource "namespaces"')))
    with pytest.raises(ClusterError, match=r"ConfigMap mesh/settings cannot be read: odd"):
        ask(SETTINGS, settings=(418, status(418, "Teapot", "odd")))
