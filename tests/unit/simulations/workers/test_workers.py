"""Shards and their order, and what becomes of a question whose worker is lost. Without Ray."""

import itertools
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ray.exceptions import RayActorError, RayTaskError

from shared.config import EngineConfig, ExperimentConfig
from shared.errors import ConfigError, DataError, EngineError
from simulations.workers import engine as workers
from simulations.workers import factory as workers_factory
from simulations.workers import pool as workers_pool
from simulations.workers.actor import SEEN, Worker, code_files, software
from simulations.workers.engine import ShardedEngine, shards
from simulations.workers.factory import check_folder
from simulations.workers.pool import Stopped, WorkerPool
from simulations.workers.ray_session import Share, _share_of_cluster, share_of
from simulations.world.world import World
from tests.support import ROOT
from tests.support.asking import counted, ranked, trained
from tests.support.federations import point_config
from tests.support.tiny import make_engine, random_adapter

PATIENCE = 300  # seconds for what takes none


def test_shards_are_like_sized_pieces_in_order():
    users = list(range(5, 42))
    pieces = shards(users, 16)
    assert [user for piece in pieces for user in piece] == users
    assert [len(piece) for piece in pieces] == [13, 12, 12]
    assert all(type(user) is int for piece in pieces for user in piece)
    assert shards([], 16) == []
    assert shards([3], 16) == [[3]]


class Late:
    """A pool that answers the latest question first, by an engine of this process."""

    def __init__(self, engine, size=2):
        self.engine, self.size, self.waiting, self.most = engine, size, [], 0
        self.session = SimpleNamespace(device="cpu")

    def rank(self):
        return 0

    def ask(self, rank, method, *arguments):
        answer = Future()
        self.waiting.append((answer, method, arguments))
        self.most = max(self.most, len(self.waiting))
        answer.result = lambda: self.answer(answer)
        return answer

    def answer(self, wanted):
        for answer, method, arguments in reversed(self.waiting):
            worker = Worker()
            worker._opened = SimpleNamespace(engine=lambda model: self.engine)
            answer.set_result(getattr(worker, method)(*arguments))
        self.waiting.clear()
        return Future.result(wanted)


@pytest.fixture(scope="module")
def engine(tiny_bert):
    return make_engine(World(users=30, items=60), tiny_bert)


@pytest.fixture
def sharded(engine, monkeypatch):
    monkeypatch.setattr(workers, "ray", SimpleNamespace(put=lambda value: value))
    return ShardedEngine(engine, Late(engine), shard=4)


def test_shards_are_summed_in_their_order_whoever_was_faster(engine, sharded, tiny_bert):
    config = point_config(tiny_bert)
    sharded._clients = 2  # more shards than are under way at once
    users, adapter = list(range(28)), random_adapter(engine.schema)
    whole = trained(engine, users, adapter, config, merge=True)
    pieces = trained(sharded, users, adapter, config, merge=True)
    assert [sorted(members) for members, _ in pieces] == shards(users, 2)
    sums = [sum(u.vector.astype(np.float64) for _, u in found) for found in (whole, pieces)]
    np.testing.assert_allclose(sums[0], sums[1], atol=1e-6)
    assert max(u.norm for _, u in whole) == pytest.approx(max(u.norm for _, u in pieces))


def test_ranks_and_histograms_are_those_of_one_process(engine, sharded, tiny_bert):
    config = point_config(tiny_bert)
    users, adapter = list(range(30)), random_adapter(engine.schema)
    for phase in ("validation", "test"):
        found = ranked(sharded, users, adapter, phase, config)
        assert found == ranked(engine, users, adapter, phase, config)
    members, histogram = counted(sharded, users, config)
    expected = counted(engine, users, config)
    assert members == expected[0]
    np.testing.assert_allclose(histogram.vector, expected[1].vector, rtol=1e-6)
    assert (histogram.weight, histogram.norm) == (expected[1].weight, expected[1].norm)


def test_few_shards_are_under_way_at_once(engine, sharded, tiny_bert):
    sharded._clients = 1
    users = list(range(30))
    config = point_config(tiny_bert)
    trained(sharded, users, random_adapter(engine.schema), config, merge=True)
    assert sharded._pool.most == 4 * sharded._pool.size


def test_people_keep_their_own_whichever_worker_trains_them(engine, sharded, tiny_bert, tmp_path):
    config = point_config(tiny_bert, federation={"aggregation": "fedsa"})
    users, adapter = list(range(10)), random_adapter(engine.schema)
    sums, ranks = [], []
    for number, trainer in enumerate((engine, sharded)):
        state = tmp_path / str(number) / "devices" / "point"
        for turn in (1, 2):
            found = trained(trainer, users, adapter, config, turn, merge=True, state=state)
            sums.append(sum(update.vector.astype(np.float64) for _, update in found))
        ranks.append(ranked(trainer, users, adapter, "test", config, 2, state))
    np.testing.assert_allclose(sums[2:], sums[:2], atol=1e-6)
    assert np.linalg.norm(sums[1] - sums[0]) > 1e-3  # the second round starts from another B
    assert ranks[0] == ranks[1] != engine.evaluate(users, adapter, "test", config)


class FakeRay:
    """Ray in this process: an actor is an object, a reference a call, a death an exception."""

    def __init__(self, kind):
        self.kind, self.made, self.killed = kind, [], []

    def remote(self, **options):
        def make(cls):
            def place():
                actor = Handle(self.kind(len(self.made)))
                self.made.append(actor)
                return actor

            return SimpleNamespace(remote=place)

        return make

    def get(self, reference):
        return reference() if callable(reference) else reference

    def put(self, value):
        return value

    def wait(self, references, timeout):
        return references, []

    def kill(self, actor):
        self.killed.append(actor)


class Handle:
    """What Ray gives of an actor: every method has a `remote`."""

    def __init__(self, actor):
        self._actor = actor

    def __getattr__(self, name):
        method = getattr(self._actor, name)
        return SimpleNamespace(remote=lambda *arguments: lambda: method(*arguments))


class Good:
    """A worker that answers."""

    def __init__(self, number):
        self.number = number

    def hello(self):
        return "10.0.0.9", {"torch": "1"}

    def open(self, config, vectors, data):
        pass

    def train(self, what):
        return what, self.number


def opened(monkeypatch, kind, size=1):
    ray = FakeRay(kind)
    monkeypatch.setattr(workers_pool, "ray", ray)
    monkeypatch.setattr(workers_factory, "ray", ray)
    monkeypatch.setattr(workers_factory, "software", lambda: {"torch": "1"})
    session = SimpleNamespace(share=Share(size, 1, 0), close=lambda: None)
    return WorkerPool(session, ExperimentConfig(), np.zeros((1, 1), np.float32)), ray


def raised(cause):
    return RayTaskError("train", "Traceback\n  file\n", cause, "worker", 1, "10.0.0.9")


def test_a_question_outlives_its_worker(monkeypatch):
    class Mortal(Good):
        def train(self, what):
            if self.number == 0:
                raise RayActorError()
            return super().train(what)

    pool, ray = opened(monkeypatch, Mortal)
    told = []
    pool.tell = told.append
    with pool:
        pool.start()
        answers = [pool.ask(pool.rank(), "train", what) for what in "abc"]
        assert [answer.result(PATIENCE) for answer in answers] == [("a", 1), ("b", 1), ("c", 1)]
    assert len(told) == 1
    assert "\n" not in told[0]
    assert ray.made[0] in ray.killed  # it must not go on while another does its work


def test_a_question_that_ends_every_worker_is_given_up(monkeypatch):
    class Fatal(Good):
        def train(self, what):
            raise RayActorError()

    pool, ray = opened(monkeypatch, Fatal)
    with pool:
        pool.start()
        with pytest.raises(EngineError, match=r"3 workers ended.*fewer --workers"):
            pool.ask(0, "train", "a").result(PATIENCE)
    assert len(ray.made) >= 3


def test_what_a_worker_raises_is_raised_here_and_it_goes_on(monkeypatch):
    class Strict(Good):
        def train(self, what):
            if what == "bad":
                raise raised(DataError("user 7 is unknown"))
            return super().train(what)

    pool, ray = opened(monkeypatch, Strict)
    with pool:
        pool.start()
        with pytest.raises(DataError, match="user 7 is unknown"):
            pool.ask(0, "train", "bad").result(PATIENCE)
        assert pool.ask(0, "train", "good").result(PATIENCE) == ("good", 0)
    assert len(ray.made) == 1


@pytest.mark.parametrize(
    ("theirs", "error", "named"),
    [
        ({"hello": lambda self: ("10.0.0.9", {"torch": "2"})}, ConfigError, "torch is 2 there and"),
        ({"hello": lambda self: ("10.0.0.9", {})}, ConfigError, "torch is None there and 1 here"),
        ({"open": lambda self, *_: fail(raised(DataError("no log")))}, DataError, "10.0.0.9: no"),
        ({"open": lambda self, *_: fail(raised(KeyError("x")))}, EngineError, "10.0.0.9"),
        ({"hello": lambda self: fail(RayActorError())}, EngineError, "does not start"),
    ],
)
def test_a_worker_that_differs_or_does_not_start_ends_the_run(monkeypatch, theirs, error, named):
    pool, _ = opened(monkeypatch, type("Other", (Good,), theirs))
    with pool, pytest.raises(error, match=named):
        pool.start()


def fail(error):
    raise error


def test_a_cluster_without_room_is_not_waited_for_forever(monkeypatch):
    pool, ray = opened(monkeypatch, Good)
    ray.wait = lambda references, timeout: ([], references)
    monkeypatch.setattr(workers_pool, "_PATIENCE", 0.0)
    time.sleep(0.01)
    with pool, pytest.raises(EngineError, match="no worker started within 0 s"):
        pool.start()


def test_those_who_found_room_begin_without_the_others(monkeypatch):
    pool, _ = opened(monkeypatch, Good, size=2)
    hours = itertools.count(step=3600.0)  # once one works, each look is an hour later
    clock = SimpleNamespace(monotonic=lambda: next(hours) if pool._working else 0.0)
    monkeypatch.setattr(workers_pool, "time", clock)
    monkeypatch.setattr(pool._threads[1], "start", lambda: None)  # finds no room
    with pool:
        pool.start()
        assert pool.ask(0, "train", "a").result(PATIENCE) == ("a", 0)


def test_whoever_waits_is_told_when_the_pool_stops(monkeypatch):
    pool, _ = opened(monkeypatch, Good)
    answer = pool.ask(0, "train", "never started")
    pool.stop()
    with pytest.raises(Stopped):
        answer.result(PATIENCE)
    with pytest.raises(Stopped):
        pool.ask(0, "train", "too late").result(PATIENCE)
    pool.close()


def test_a_folder_that_is_gone_ends_the_run_and_nobody_waits_for_ever(monkeypatch, tmp_path):
    pool, _ = opened(monkeypatch, Good)
    with pool:
        pool.start()
        pool.keep_in(tmp_path / "gone")
        for what in "ab":
            with pytest.raises(ConfigError, match="gone: cannot be written any more"):
                pool.ask(0, "train", what).result(PATIENCE)


def test_whatever_goes_wrong_here_is_answered(monkeypatch):
    pool, _ = opened(monkeypatch, Good)
    monkeypatch.setattr(
        workers_pool, "check_folder", lambda *_: fail(ValueError("a fault of ours"))
    )
    with pool:
        pool.start()
        pool.keep_in(Path())
        with pytest.raises(ValueError, match="a fault of ours"):
            pool.ask(0, "train", "a").result(PATIENCE)
        with pytest.raises(EngineError, match="a fault of ours"):
            pool.ask(0, "train", "b").result(PATIENCE)


def test_a_question_cancelled_while_it_is_refused_stops_nothing(monkeypatch):
    """Between the look whether it was cancelled and the refusal."""
    pool, _ = opened(monkeypatch, Good)
    answers = [pool.ask(0, "train", what) for what in "abc"]
    monkeypatch.setattr(answers[0], "cancelled", lambda: False)
    answers[0].cancel()
    pool.stop()
    for answer in answers[1:]:
        with pytest.raises(Stopped):
            answer.result(PATIENCE)
    pool.close()


def test_questions_of_an_earlier_one_go_first(monkeypatch):
    begun, gate, order = threading.Event(), threading.Event(), []

    class Noting(Good):
        def train(self, what):
            begun.set()
            gate.wait(PATIENCE)
            order.append(what)

    pool, _ = opened(monkeypatch, Noting)
    with pool:
        pool.start()
        first, second = pool.rank(), pool.rank()
        answers = [pool.ask(first, "train", "held")]
        assert begun.wait(PATIENCE)  # it is under way: what follows queues up
        answers += [pool.ask(second, "train", what) for what in ("c", "d")]
        answers += [pool.ask(first, "train", what) for what in ("a", "b")]
        gate.set()
        for answer in answers:
            answer.result(PATIENCE)
    assert order == ["held", "a", "b", "c", "d"]


def test_a_folder_that_a_worker_does_not_share_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(workers_factory, "ray", FakeRay(Good))
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()

    class There(Good):
        """A worker to which the folder's name means another folder."""

        def reach(self, file, token):
            return Worker().reach(theirs / file.name, token)

    class Here(Good):
        def reach(self, file, token):
            return Worker().reach(file, token)

    check_folder(ours, Handle(Here(0)), ".probe-0")
    for left in (None, "of an earlier run", SEEN):
        if left:
            (theirs / ".probe-0").write_text(left)
        with pytest.raises(ConfigError, match=r"10\.0\.0\.9 cannot read and write it.*--out"):
            check_folder(ours, Handle(There(0)), ".probe-0")
    assert list(ours.iterdir()) == []


def test_a_cluster_is_shared_as_a_whole():
    config = EngineConfig(address="auto", cpus_per_client=2)
    assert share_of(config, "cpu", 9, 0, "the cluster") == Share(4, 2, 0)
    with pytest.raises(ConfigError, match="the cluster has 1"):
        share_of(config, "cpu", 1, 0, "the cluster")
    many = EngineConfig(address="auto", workers=5, cpus_per_client=2)
    with pytest.raises(ConfigError, match=r"workers = 5: with 2 core.* cluster's 8 .* for 4"):
        _share_of_cluster(many, "cpu", {"CPU": 8.0})
    assert _share_of_cluster(config, "cuda", {"CPU": 8.0, "GPU": 1.0}) == Share(4, 2, 0.25)


def test_the_softwares_digest_is_of_all_code_that_computes(monkeypatch):
    named = {str(file.relative_to(ROOT)) for file in code_files()}
    assert {
        "shared/request.py",
        "client/training/train.py",
        "simulations/engine/cohort.py",
    } <= named
    assert len(named) > 100
    here = software()
    edited = code_files()[:-1]
    monkeypatch.setattr("simulations.workers.actor.code_files", lambda: edited)
    assert software() != here
