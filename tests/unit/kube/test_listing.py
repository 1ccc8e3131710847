"""A whole collection, page by page: also when its first page is too old for the next."""

import asyncio

import pytest

from cni_migrate.errors import ClusterError
from cni_migrate.kube.listing import listed
from cni_migrate.kube.request import Client
from tests.unit.kube.fake_api import FakeApi, FakeServer, LoopClock, Scripted, status
from tests.unit.kube.fake_api import listed as page

PODS = "/api/v1/pods"
EXPIRED = status(410, "Expired", "The provided continue parameter is too old")


def names(*replies: Scripted) -> tuple[list[str], list[str]]:
    """The names that were listed, and with which tokens."""
    server = FakeServer()
    server.on("GET", PODS, *replies)

    async def main() -> list[str]:
        return [str(one["metadata"]["name"]) async for one in listed(Client(FakeApi(server), LoopClock()), PODS)]

    return asyncio.run(main()), [one.query.get("continue", "") for one in server.seen]


def test_the_rest_of_a_list_that_has_expired_is_read_as_it_is_today() -> None:
    """An etcd that compacts often forgets a list between two of its pages; the answer says how to go on."""
    expired = (410, {**EXPIRED, "metadata": {"continue": "today"}})
    found, tokens = names(page({"metadata": {"name": "a"}}, more="old"), expired, page({"metadata": {"name": "b"}}))
    assert found == ["a", "b"]
    assert tokens == ["", "old", "today"]


def test_an_expired_list_that_cannot_be_gone_on_with_is_refused() -> None:
    with pytest.raises(ClusterError, match="too old"):
        names(page({"metadata": {"name": "a"}}, more="old"), (410, EXPIRED))
