"""Many rights at once: by this user's rules, and one by one where these do not tell."""

from typing import Any

import pytest

from cni_migrate.kube.access import MANY, NOWHERE, Ask, Reviews
from cni_migrate.kube.request import Client
from cni_migrate.sim.clock import run_virtual
from tests.unit.kube.fake_api import FakeApi, FakeServer, LoopClock, Reply, status

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
ASKS = [Ask(f"verb{number}", "apps", "daemonsets") for number in range(MANY)]


def rule(*verbs: str, **more: Any) -> dict[str, Any]:
    return {"verbs": list(verbs), "apiGroups": ["apps"], "resources": ["daemonsets"], **more}


def asked(rules: Reply, asks: list[Ask]) -> tuple[dict[Ask, bool], list[dict[str, Any]], list[str]]:
    """What was found; about what the server was asked one by one; and the namespaces whose rules it was asked for."""
    server = FakeServer()
    server.on("POST", REVIEWS, (201, {"status": {"allowed": False}}))
    server.on("POST", RULES, rules)
    client = Client(FakeApi(server), LoopClock())
    found = run_virtual(Reviews(client).allowed(asks))
    single = [one.body["spec"]["resourceAttributes"] for one in server.asked("POST", REVIEWS)][1:]
    return found, single, [one.body["spec"]["namespace"] for one in server.asked("POST", RULES)]


def test_rules_answer_many_at_once() -> None:
    """What they grant is not asked about again; a right on all namespaces is looked for where no RoleBinding can be."""
    told = (201, {"status": {"resourceRules": [rule("*")], "nonResourceRules": [], "incomplete": False}})
    assert asked(told, ASKS) == (dict.fromkeys(ASKS, True), [], [NOWHERE])


def test_what_rules_do_not_grant_is_asked_one_by_one() -> None:
    """Another authorizer may allow it. A rule that names objects grants nothing on all of them."""
    rules = [rule(*(ask.verb for ask in ASKS[2:])), rule("*", resourceNames=["canal"])]
    found, single, _ = asked((201, {"status": {"resourceRules": rules, "incomplete": False}}), ASKS)
    assert found == {ask: ask not in ASKS[:2] for ask in ASKS}
    assert [one["verb"] for one in single] == ["verb0", "verb1"]


@pytest.mark.parametrize(
    "told",
    [
        (201, {"status": {"resourceRules": [rule("*")], "incomplete": True}}),
        (403, status(403, "Forbidden", 'User "j" cannot create resource "selfsubjectrulesreviews"')),
        (404, status(404, "NotFound")),
    ],
)
def test_rules_that_are_not_all_are_no_answer(told: Reply) -> None:
    """An authorizer that does not tell its rules may also deny."""
    found, single, _ = asked(told, ASKS)
    assert (set(found.values()), len(single)) == ({False}, len(ASKS))


def test_each_namespace_has_its_rules() -> None:
    """A rule of a RoleBinding holds there alone; a subresource needs a rule of its own, or one for all."""
    asks = [*ASKS, Ask("create", "apps", "daemonsets", "status", "web")]
    told = (201, {"status": {"resourceRules": [rule("*")], "incomplete": False}})
    found, single, namespaces = asked(told, asks)
    assert sorted(namespaces) == [NOWHERE, "web"]
    assert found[asks[-1]] is False
    assert [one["subresource"] for one in single] == ["status"]


def test_a_few_are_asked_one_by_one() -> None:
    """The rules of somebody with many roles are long."""
    assert asked((201, {}), ASKS[:3])[2] == []
