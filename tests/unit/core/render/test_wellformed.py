"""What an API server would refuse in the middle is refused when it is read, with the place where it stands."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_migrate.core.render.wellformed import LARGEST, objects_in

META = {"name": "x", "namespace": "kube-system"}
ITSELF: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": META}
ITSELF["more"] = [ITSELF]
BOMB: list[Any] = ["x"]
for _ in range(30):
    BOMB = [BOMB, BOMB]


def of(kind: str = "ConfigMap", *, version: str = "v1", meta: Any = META, **more: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": meta, **more}


def pods(**spec: Any) -> dict[str, Any]:
    return of("DaemonSet", version="apps/v1", spec={"template": {"spec": spec}})


def named(**meta: Any) -> dict[str, Any]:
    return of(meta={**META, **meta})


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ("text", "no Kubernetes object"), ([1], "no Kubernetes object"), ({}, "its apiVersion is missing"),
        (of(kind=""), "its kind is "), ({**of(), "kind": ["a"]}, "its kind is a list"),
        ({**of(), "apiVersion": 1}, "its apiVersion is 1"),
        (of(meta=None), "a ConfigMap without a name"), (of(meta=["x"]), "a ConfigMap without a name"),
        (of(meta={"generateName": "x-"}), "a ConfigMap without a name"),
        (named(name=12), "that is no name that Kubernetes takes"), (named(name="a/../b"), "that is no name"),
        (named(name="A b"), "that is no name"), (named(name="x" * 254), "that is no name"),
        (of("ClusterRole", version="rbac.authorization.k8s.io/v1", meta={"name": ".."}), "that is no name"),
        (named(namespace=5), "its namespace is 5"), (named(namespace="a.b"), "its namespace is a.b"),
        (named(namespace=None), "it names no namespace: write metadata.namespace"),
        (named(labels=["a"]), "metadata.labels is a list"),
        (named(annotations={"a": True}), "metadata.annotations: a is true: write it in quotes"),
        (of(data={"debug": False, "b": 1}), "data: debug is false, b is 1: write it in quotes"),
        (of("Secret", stringData="x"), "stringData is x"),
        (of(data={1: "a"}), "a key is 1, and keys have to be texts"),
        (of(data={"a": float("inf")}), "a value is inf, which is no JSON"),
        (of(binaryData={"a": b"hi"}), "which is no JSON"), (of(data={"a": {"b"}}), "which is no JSON"),
        (ITSELF, "an alias is part of what it stands for"), (of(more=BOMB), f"more than {LARGEST} values"),
        (of("DaemonSet"), "spec is missing"), (of("DaemonSet", spec=[1]), "spec is a list"),
        (of("Deployment", spec={"template": "a"}), "spec.template is a"),
        (of("CronJob", spec={"jobTemplate": {"spec": None}}), "spec.jobTemplate.spec is missing"),
        (pods(containers={"a": "b"}), "spec.template.spec.containers is no list of objects"),
        (pods(initContainers=["a"]), "spec.template.spec.initContainers is no list of objects"),
        (pods(volumes=3), "spec.template.spec.volumes is no list of objects"),
        (pods(containers=[{"name": "c"}]), "the image of container c is missing"),
        (pods(initContainers=[{"image": ["a"]}]), "the image of container of no name is a list"),
        (pods(containers=[{"name": "c", "env": {"A": "b"}}]), "env of c is no list of objects"),
        (pods(containers=[{"name": "c", "args": [1]}]), "args of c is no list of texts"),
        (of("Kustomization", version="kustomize.config.k8s.io/v1beta1"), "name what `kustomize build` prints"),
        (of("List", items="a"), "items: no Kubernetes object"), (of("List", items=[1]), "item 1: no Kubernetes object"),
        (of("List", items=[of("List", items=[None])]), "item 1, item 1: no Kubernetes object"),
    ],
)  # fmt: skip
def test_what_no_api_server_takes_is_named_with_its_place(found: Any, says: str) -> None:
    """And is no object for anybody else."""
    objects, problems = objects_in([("line 1", None), ("line 7", found)])
    assert not objects
    assert problems
    assert problems[0].startswith("line 7")
    assert says in " ".join(problems)


@pytest.mark.parametrize(
    "found",
    [
        of(), of(data=None), of(data={"a": None}), named(labels=None, annotations={}), of("Bar", version="foo.io/v1", spec=[1]),
        of("Namespace", meta={"name": "a"}), pods(containers=None, volumes=[]), pods(containers=[{"name": "c", "image": "a"}]),
        of("ClusterRole", version="rbac.authorization.k8s.io/v1", meta={"name": "system:cilium"}),
        of("CiliumCIDRGroupList", version="cilium.io/v2", meta={"name": "a"}), of(one=META, two=META),
    ],
)  # fmt: skip
def test_what_an_api_server_takes_is_kept_as_it_is(found: dict[str, Any]) -> None:
    """Null is what is not said; an alias that stands beside what it stands for is nothing special."""
    assert objects_in([("line 1", found)]) == ([found], [])


def test_lists_are_taken_apart_and_hooks_left_out() -> None:
    """Of any depth, typed or not, empty or not; what Helm runs once need not be in order."""
    hook = of("Job", meta={"name": "x", "annotations": {"helm.sh/hook": "post-install"}})
    inner = of("ConfigMapList", meta={}, items=[named(name="a"), hook])
    lists = [of("List", items=[inner, named(name="b")]), of("List"), of("List", items=None)]
    objects, problems = objects_in([("line 1", one) for one in lists])
    assert [one["metadata"]["name"] for one in objects] == ["a", "b"]
    assert not problems


def test_what_only_an_api_server_writes_is_left_out() -> None:
    """Objects that `kubectl get -o yaml` has printed: a server refuses a new object with a resourceVersion."""
    servers = {"uid": "u", "resourceVersion": "7", "generation": 2, "creationTimestamp": "x", "managedFields": [{}]}
    printed = {**named(**servers, annotations={"a": "b"}), "status": {"phase": "x"}}
    assert objects_in([("line 1", printed)]) == ([named(annotations={"a": "b"})], [])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["apiVersion", "kind", "metadata", "name", "spec", "template", "containers", "items", "env"]
            )
            | st.integers(),
            inner | st.sampled_from(["v1", "DaemonSet", "List", "CronJob", "ConfigMap"]),
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(ANYTHING)
def test_nothing_that_is_read_is_a_bug_of_ours(found: Any) -> None:
    """Whatever stands there, it is an object, or something is said of it, or it is empty."""
    objects, problems = objects_in([("line 1", found)])
    assert objects or problems or not found or found.get("kind") == "List" or "items" in found
