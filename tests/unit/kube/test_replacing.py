"""What a PUT keeps of the live object, and what it takes away."""

from typing import Any

import pytest

from cni_migrate.kube.replacing import holds, intact, replacement, same


def of(kind: str, **parts: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, **parts}


def live(kind: str, meta: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    return {**of(kind, **parts), "metadata": {"name": "x", "uid": "u", "resourceVersion": "7", **(meta or {})}}


@pytest.mark.parametrize(
    ("manifest", "there", "part", "expected"),
    [
        (of("ConfigMap", data={"a": "1"}), live("ConfigMap", data={"a": "0", "b": "2"}), "data", {"a": "1"}),
        (
            of("Namespace"),
            live("Namespace", spec={"finalizers": ["kubernetes"]}),
            "spec",
            {"finalizers": ["kubernetes"]},
        ),
        (of("ServiceAccount"), live("ServiceAccount", secrets=[{"name": "t"}]), "secrets", [{"name": "t"}]),
        (of("DaemonSet", spec={"a": 1}), live("DaemonSet", spec={"a": 1, "b": 2}), "spec", {"a": 1}),
        (of("DaemonSet", spec={}), live("DaemonSet", spec={}, status={"x": 1}), "status", {"x": 1}),
        (
            of("Service", spec={"clusterIP": "None"}),
            live("Service", spec={"clusterIP": "10.96.0.1", "ipFamilies": ["IPv4"]}),
            "spec",
            {"clusterIP": "None", "ipFamilies": ["IPv4"]},
        ),
    ],
)
def test_what_is_sent(manifest: dict[str, Any], there: dict[str, Any], part: str, expected: Any) -> None:
    assert replacement(manifest, there)[part] == expected


def test_what_is_not_in_the_manifest_goes() -> None:
    assert "immutable" not in replacement(of("ConfigMap"), live("ConfigMap", immutable=True))


def test_others_labels_and_annotations_stay_and_ours_win() -> None:
    manifest = of("DaemonSet")
    manifest["metadata"] |= {"labels": {"ours": "new"}, "annotations": {"a": "1"}}
    meta = {"labels": {"ours": "old", "theirs": "x"}, "managedFields": [{}], "ownerReferences": [{"name": "o"}]}
    sent = replacement(manifest, live("DaemonSet", meta))["metadata"]
    assert sent["labels"] == {"ours": "new", "theirs": "x"}
    assert sent["annotations"] == {"a": "1"}
    assert sent["ownerReferences"] == [{"name": "o"}]
    assert "managedFields" not in sent
    assert sent["resourceVersion"] == "7"


def test_the_manifest_is_left_alone() -> None:
    manifest = of("Service", spec={})
    replacement(manifest, live("Service", spec={"clusterIP": "10.96.0.1"}))
    assert manifest == of("Service", spec={})


def test_equal_objects_need_no_write() -> None:
    there = live("ConfigMap", {"managedFields": [{}]}, data={"a": "1"})
    assert same(replacement(of("ConfigMap", data={"a": "1"}), there), there)
    assert not same(replacement(of("ConfigMap", data={"a": "2"}), there), there)


def test_content_is_compared_without_metadata_and_status() -> None:
    assert holds(live("Lease", spec={"a": 1}, status={}), of("Lease", spec={"a": 1}))
    assert not holds(live("Lease", spec={"a": 2}), of("Lease", spec={"a": 1}))


@pytest.mark.parametrize(
    ("there", "sent", "so"),
    [
        ({"spec": {"a": 1, "default": 2}}, {"spec": {"a": 1}}, True),
        ({"spec": {"a": 2}}, {"spec": {"a": 1}}, False),
        ({"spec": {}}, {"spec": {"a": 1}}, False),
        ({"data": {"a": "1", "b": "2"}}, {"data": {"a": "1"}}, False),
        ({"spec": {"nodeSelector": {"a": "1", "b": "2"}}}, {"spec": {"nodeSelector": {"a": "1"}}}, False),
        ({"spec": {"containers": [{"name": "a", "stdin": False}]}}, {"spec": {"containers": [{"name": "a"}]}}, True),
        ({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}, {"spec": {"containers": [{"name": "a"}]}}, False),
        ({"rules": [{"verbs": ["get"], "resources": ["pods"]}]}, {"rules": [{"verbs": ["get"]}]}, False),
        ({"spec": {"ingress": [{}]}}, {"spec": {"ingress": []}}, False),
    ],
)
def test_what_a_server_fills_in_is_no_change(there: dict[str, Any], sent: dict[str, Any], so: bool) -> None:
    assert intact(live("X", **there), of("X", **sent)) is so
