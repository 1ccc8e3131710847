"""The lock: client-go's rules on a virtual clock.

Case matrix: nobody, a released lock, a live holder, a dead one (elsewhere, on this machine), takeover, two at once;
then renewal: in time, late, lost to somebody else, an answer that was lost, a process that was stopped and wakes up.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from cni_migrate.core.model import names
from cni_migrate.engine.lease import Lock, identity, short, surely_dead
from cni_migrate.errors import LockHeld, LockLost
from cni_migrate.sim.clock import run_virtual
from tests.unit.engine.fakes import FakeDocuments, VirtualClock

SECONDS = 30
ALICE = "alice@desk/100/5000/some-boot-1"
BOB = "bob@bastion/7/123/other-boot-2"


def _run(main: Coroutine[Any, Any, None]) -> None:
    run_virtual(main)


class Bench:
    """Documents, a clock, and locks by holder."""

    def __init__(self) -> None:
        self.documents = FakeDocuments()
        self.clock = VirtualClock()
        self.notices: list[str] = []

    def lock(self, holder: str) -> Lock:
        """A lock for a holder."""
        return Lock(self.documents, self.clock, "cni-migrate", SECONDS, holder, self.notices.append)

    @property
    def spec(self) -> dict[str, Any]:
        """The Lease's spec as it is in the cluster."""
        return dict(self.documents.objects["Lease", "cni-migrate", names.LEASE]["spec"])

    def seconds(self) -> float:
        """Virtual seconds."""
        return asyncio.get_running_loop().time()

    def die(self, lock: Lock) -> None:
        """The holder's process is killed: nothing renews and nothing is released."""
        assert lock._renewal is not None
        lock._renewal.cancel()


def test_a_free_lock_is_taken_at_once() -> None:
    """Nobody has held it: no waiting, and the Lease tells who, since when and for how long."""

    async def main() -> None:
        bench = Bench()
        lock = bench.lock(ALICE)
        await lock.take()
        assert bench.seconds() == 0
        assert bench.spec == {
            "holderIdentity": ALICE,
            "leaseDurationSeconds": SECONDS,
            "acquireTime": "2030-01-01T00:00:00.000000Z",
            "renewTime": "2030-01-01T00:00:00.000000Z",
            "leaseTransitions": 0,
        }
        lock.check()
        await lock.release()

    _run(main())


def test_a_released_lock_is_taken_at_once() -> None:
    """An orderly end leaves an empty holder; transitions are counted."""

    async def main() -> None:
        bench = Bench()
        first = bench.lock(ALICE)
        await first.take()
        await first.release()
        assert bench.spec["holderIdentity"] == ""
        await bench.lock(BOB).take()
        assert bench.seconds() == 0
        assert (bench.spec["holderIdentity"], bench.spec["leaseTransitions"]) == (BOB, 1)

    _run(main())


def test_a_live_holder_refuses() -> None:
    """Its renewal is seen within a third of the lock's duration, and the message says who it is since when."""

    async def main() -> None:
        bench = Bench()
        await bench.lock(ALICE).take()
        await asyncio.sleep(100)
        with pytest.raises(LockHeld) as caught:
            await bench.lock(BOB).take()
        assert bench.seconds() - 100 <= SECONDS / 3 + 1
        assert "alice@desk (process 100), since 2030-01-01T00:00:00" in caught.value.message
        assert "--takeover" in caught.value.next
        assert bench.spec["holderIdentity"] == ALICE
        assert "looking for up to 30 s" in bench.notices[0]

    _run(main())


def test_a_dead_holder_is_replaced_when_its_time_is_up() -> None:
    """Counted since we saw it first, by our own clock: its timestamps are another machine's."""

    async def main() -> None:
        bench = Bench()
        dead = bench.lock(ALICE)
        await dead.take()
        bench.die(dead)
        await asyncio.sleep(1000)
        started = bench.seconds()
        await bench.lock(BOB).take()
        assert SECONDS < bench.seconds() - started <= SECONDS + 2
        assert bench.spec["holderIdentity"] == BOB

    _run(main())


def test_the_holders_own_duration_counts() -> None:
    """A holder that asked for more time than we would gets it."""

    async def main() -> None:
        bench = Bench()
        patient = Lock(bench.documents, bench.clock, "cni-migrate", 90, ALICE, bench.notices.append)
        await patient.take()
        bench.die(patient)
        await bench.lock(BOB).take()
        assert bench.seconds() > 90

    _run(main())


def test_takeover_does_not_wait() -> None:
    """The operator says that the holder is dead; should it live, its next check fails."""

    async def main() -> None:
        bench = Bench()
        old = bench.lock(ALICE)
        await old.take()
        await bench.lock(BOB).take(takeover=True)
        assert bench.seconds() == 0
        await asyncio.sleep(SECONDS / 3 + 1)
        with pytest.raises(LockLost, match=r"taken over by bob@bastion \(process 7\)"):
            old.check()

    _run(main())


def test_one_of_two_wins_a_dead_holders_lock() -> None:
    """Both wait for the same holder; one takes it, the other refuses."""

    async def main() -> None:
        bench = Bench()
        dead = bench.lock(ALICE)
        await dead.take()
        bench.die(dead)
        ends = await asyncio.gather(bench.lock(BOB).take(), bench.lock("carol@x/1/2/3").take(), return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["LockHeld", "NoneType"]

    _run(main())


def test_a_lock_is_kept_for_as_long_as_it_is_renewed() -> None:
    """An hour later it is still ours, and the Lease's version has moved."""

    async def main() -> None:
        bench = Bench()
        lock = bench.lock(ALICE)
        await lock.take()
        await asyncio.sleep(3600)
        lock.check()
        assert bench.spec["renewTime"] > "2030-01-01T00:59"
        assert bench.spec["acquireTime"] == "2030-01-01T00:00:00.000000Z"
        await lock.release()

    _run(main())


def test_an_outage_shorter_than_the_slack_is_survived() -> None:
    """One renewal that fails is not the end."""

    async def main() -> None:
        bench = Bench()
        lock = bench.lock(ALICE)
        await lock.take()
        await asyncio.sleep(5)
        bench.documents.down = True
        await asyncio.sleep(8)
        bench.documents.down = False
        await asyncio.sleep(60)
        lock.check()
        await lock.release()

    _run(main())


def test_a_lock_that_cannot_be_renewed_is_lost_before_another_may_take_it() -> None:
    """At two thirds of its duration, so that what is under way has time to end."""

    async def main() -> None:
        bench = Bench()
        lock = bench.lock(ALICE)
        await lock.take()
        bench.documents.down = True
        await asyncio.sleep(SECONDS * 2 / 3 + 1)
        with pytest.raises(LockLost, match="could not be renewed"):
            lock.check()

    _run(main())


@pytest.mark.parametrize("takes", [0.0, 3.0, 7.0, 9.9])
def test_a_renewal_that_takes_its_time_to_fail_is_noticed_in_time(takes: float) -> None:
    """However long the API server lets each try hang, the lock is known to be lost before it runs out."""

    async def main() -> None:
        bench = Bench()
        lock = bench.lock(ALICE)
        await lock.take()
        bench.documents.down = True
        bench.documents.slow = takes
        await asyncio.sleep(SECONDS - 0.01)
        with pytest.raises(LockLost, match="could not be renewed"):
            lock.check()

    _run(main())


def test_a_renewal_whose_answer_was_lost_does_not_lose_the_lock() -> None:
    """The Lease has another version than we know, but it is ours."""

    async def main() -> None:
        bench = Bench()
        lock = bench.lock(ALICE)
        await lock.take()
        stored = bench.documents.objects["Lease", "cni-migrate", names.LEASE]
        stored["metadata"]["resourceVersion"] = "9999"
        await asyncio.sleep(SECONDS * 3)
        lock.check()
        await lock.release()

    _run(main())


def test_a_lease_that_was_deleted_is_a_lost_lock() -> None:
    """Somebody removed it: nobody can say who holds the lock now."""

    async def main() -> None:
        bench = Bench()
        lock = bench.lock(ALICE)
        await lock.take()
        bench.documents.remove(names.LEASE, "Lease")
        await asyncio.sleep(SECONDS / 3 + 1)
        with pytest.raises(LockLost, match="nobody"):
            lock.check()

    _run(main())


def test_a_process_that_was_stopped_notices_when_it_wakes() -> None:
    """SIGSTOP: no timer has run, but the clock has; the first check after it raises, before any renewal could."""

    async def main() -> None:
        bench = Bench()
        lock = bench.lock(ALICE)
        await lock.take()
        bench.die(lock)
        await asyncio.sleep(SECONDS + 1)
        with pytest.raises(LockLost, match=r"not renewed for 31 s"):
            lock.check()

    _run(main())


def test_a_process_that_was_stopped_does_not_renew_itself_back() -> None:
    """Longer than the lock lasts is lost for good, even if the woken renewal finds the Lease untouched."""

    async def main() -> None:
        bench = Bench()
        lock = bench.lock(ALICE)
        await lock.take()
        bench.die(lock)
        await asyncio.sleep(SECONDS + 1)
        with pytest.raises(LockLost):
            lock.check()
        lock._renewal = asyncio.create_task(lock._renew())
        await asyncio.sleep(SECONDS)
        with pytest.raises(LockLost):
            lock.check()

    _run(main())


def test_a_lost_lock_is_not_given_back() -> None:
    """Release by a former holder leaves the new holder's Lease alone."""

    async def main() -> None:
        bench = Bench()
        old = bench.lock(ALICE)
        await old.take()
        await bench.lock(BOB).take(takeover=True)
        await old.release()
        assert bench.spec["holderIdentity"] == BOB

    _run(main())


def test_release_survives_an_api_server_that_is_away() -> None:
    """The lock runs out by itself then."""

    async def main() -> None:
        bench = Bench()
        lock = bench.lock(ALICE)
        await lock.take()
        bench.documents.down = True
        await lock.release()

    _run(main())


def test_the_dead_of_this_machine_are_known() -> None:
    """A process of this boot and pid namespace that is not there, or another one by its number, is surely dead."""
    me = identity()
    user_host, pid, start, place = me.split("/")
    assert not surely_dead(me)
    assert surely_dead(f"{user_host}/{pid}/{int(start) + 1}/{place}")
    assert surely_dead(f"{user_host}/4194305/{start}/{place}")


@pytest.mark.parametrize("holder", ["", "bob", BOB, "a/b/c/unknown", "x@y/1/2", "a@b/notanumber/2/3", "a/1/2/3/4"])
def test_the_dead_of_other_machines_are_not(holder: str) -> None:
    """Nothing can be said about a process elsewhere, or about a text that is not ours."""
    assert not surely_dead(holder)


def test_a_dead_process_of_this_machine_is_replaced_at_once() -> None:
    """The common case, a driver that was killed and typed again, does not cost half a minute."""

    async def main() -> None:
        bench = Bench()
        user_host, _, start, place = identity().split("/")
        dead = bench.lock(f"{user_host}/4194305/{start}/{place}")
        await dead.take()
        bench.die(dead)
        await bench.lock(identity()).take()
        assert bench.seconds() == 0

    _run(main())


def test_holders_are_shown_short() -> None:
    """User, host and process are enough for a human."""
    assert short(ALICE) == "alice@desk (process 100)"
    assert short("operator") == "operator"
