"""A run among nodes that come and go while it begins, or goes on."""

from types import SimpleNamespace

import httpx
import pytest

import server.up.conduct
from server.up.conduct import RETURN, Conductor
from server.up.flower import Node

USERS = 3


@pytest.fixture
def passing(monkeypatch):
    """Time passes by sleeping alone, from one look to the next."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    clock.sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)
    monkeypatch.setattr(server.up.conduct, "time", clock)
    return clock


class Up:
    """A server whose nodes are connected as told, one number a look, and runs end as told."""

    def __init__(self, folder, online, *, begun=False, ends=()):
        self.online, self.ends, self.said = list(online), list(ends), []
        folder.joinpath("superlink").mkdir()
        checkpoint = folder / "checkpoint"
        if begun:
            checkpoint.touch()
        files = SimpleNamespace(
            checkpoint=checkpoint, settings=folder / "s", folder=folder, name="point"
        )
        served = SimpleNamespace(users=USERS)
        about = SimpleNamespace(
            served=served,
            files=files,
            run=folder,
            flower=folder / "superlink",
            declined=folder / "declined.json",
        )
        self.conductor = Conductor(about, self.said.append)
        self.superlink = SimpleNamespace(keep_up=list, pids={}, address="127.0.0.1:1")

    def nodes(self):
        here = self.online.pop(0) if len(self.online) > 1 else self.online[0]
        return [
            Node(number, number < here, f"key {number}", registered=True) for number in range(USERS)
        ]

    def start(self, told):
        return 1

    def follow(self, number, log):
        pass

    def state_of(self, number):
        state = self.ends.pop(0)
        if state == "completed":
            (self.conductor._folder.run / "results.json").write_text('{"complete": true}')
        return state


@pytest.mark.parametrize(("online", "until"), [([1, 2, 3], 1.0), ([0, 2], RETURN), ([3], 0.0)])
def test_a_run_that_goes_on_waits_for_all_for_a_minute(online, until, passing, tmp_path):
    """After a server was away for long its nodes return one by one."""
    up = Up(tmp_path, online, begun=True)
    up.conductor._wait_for_nodes(up.superlink, up)
    assert until <= passing.now <= until + 1


def test_while_too_few_are_there_it_says_so_once_a_minute(passing, tmp_path):
    up = Up(tmp_path, [*[1] * 260, 2, *[2] * 130, 3])
    up.conductor._wait_for_nodes(up.superlink, up)
    assert up.said == [
        "1 of 3 nodes are connected",
        "still waiting: 1 of 3 nodes are connected",
        "still waiting: 1 of 3 nodes are connected",
        "2 of 3 nodes are connected",
        "still waiting: 2 of 3 nodes are connected",
        "3 of 3 nodes are connected",
    ]


def test_a_run_that_could_not_begin_as_a_node_went_again_begins_when_it_is_back(passing, tmp_path):
    up = Up(tmp_path, [3, 2, 3], ends=["failed", "completed"])
    up.conductor._carry_out(up.superlink, up)
    assert next(line for line in up.said if line.startswith("the run")) == "the run begins"
    assert not up.ends


def test_a_superlink_that_ends_while_it_is_asked_is_started_again(passing, tmp_path):
    """Not only one that is seen to have ended before."""
    up = Up(tmp_path, [3], begun=True, ends=["running", "failed", "completed"])
    gone, state_of = [], up.state_of

    def asked(number):
        if len(up.ends) == 2 and not gone:
            gone.append("flower-superlink")
        if gone == ["flower-superlink"]:
            raise httpx.ConnectError("refused")
        return state_of(number)

    def keep_up():
        ended = gone[:1] if len(gone) == 1 else []
        gone.extend(["started again"] * len(ended))
        return ended

    up.state_of, up.superlink.keep_up = asked, keep_up
    (up.conductor._folder.flower / "state.json").write_text('{"run": 1}')
    up.conductor._carry_out(up.superlink, up)
    assert "flower-superlink had ended; it was started again" in up.said
    assert "the run goes on from its checkpoint" in up.said
