"""Several Ray nodes on this machine: the points of one process, whoever dies in between."""

import gc
import math
import os
import signal
import threading
import warnings
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import pytest
from safetensors.numpy import load_file

from shared.config import at_epsilon, from_dict, to_dict
from shared.errors import ConfigError
from shared.run_files import point_name
from simulations.sweep.jobs import Job, work
from simulations.sweep.machines import Machines
from simulations.sweep.point import run_point
from simulations.sweep.progress import SweepProgress
from tests.support.federations import point_config
from tests.support.tiny import alike, relative

SAME = ("metrics", "validation", "epsilon", "noise_multiplier", "communication_bytes", "cohort")
RELEASED = ("released_metrics", "clipping_norms")
EPSILONS = (2.0, math.inf)


def settings(tiny_bert, privacy=None, **engine):
    tree = to_dict(point_config(tiny_bert, privacy=privacy or {}))
    tree["data"] |= {"spec": "world", "users": 40}
    tree["federation"] |= {"rounds": 8, "cohort": 20.0, "evaluate_every": 2}
    tree["privacy"] |= {"adaptive_clipping": 0.5, "metrics_share": 0.2} | (privacy or {})
    tree["engine"] = {"engine": "cohort", "device": "cpu", "threads": 1} | engine
    return from_dict(tree)


@contextmanager
def what_ray_leaves_open():
    """Ray drops open files and processes that it ended without waiting for them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.fixture(scope="module")
def unseen():
    """A head writes its address where every `ray.init()` of the machine would find it."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        yield


@pytest.fixture(scope="module")
def cluster(unseen):
    """A head without room for workers, and two nodes with room for one each."""
    from ray.cluster_utils import Cluster

    with what_ray_leaves_open():
        cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
        )
        nodes = [cluster.add_node(num_cpus=1, wait=False) for _ in range(2)]
        cluster.wait_for_nodes()
    yield cluster, nodes
    with what_ray_leaves_open():
        cluster.shutdown()


@pytest.fixture(scope="module")
def simulation(cluster, tiny_bert, own_folders):
    """The workers stay for all tests: each start of one takes seconds."""
    with (
        what_ray_leaves_open(),
        Machines(settings(tiny_bert, workers=2, address=cluster[0].address, shard=4)) as simulation,
    ):
        simulation.workers()
        yield simulation


@pytest.fixture(scope="module")
def alone(tiny_bert, own_folders, tmp_path_factory):
    """The same in one process."""
    with Machines(settings(tiny_bert)) as simulation:
        folder = tmp_path_factory.mktemp("alone")
        yield simulation, folder, run(simulation, folder)


def run(simulation, folder, privacy=None, epsilons=EPSILONS, told=None):
    """Points as a sweep runs them, several at once where there are workers."""
    config = settings(simulation.config.model.backbone, privacy)
    points = [at_epsilon(config, epsilon, 5) for epsilon in epsilons]

    def job(point):
        def act(advance):
            return run_point(simulation, point, folder, lambda entry: None).stated

        return Job(point_name(point.privacy.epsilon, 5), "a point", 1, act)

    pool = simulation.workers()
    if pool and told is not None:
        pool.tell = told.append
    at_once, stop = (pool.size, pool.stop) if pool else (1, lambda: None)
    with SweepProgress(2, quiet=True) as progress:
        return dict(work([job(point) for point in points], at_once, progress, stop))


def adapters(folder, name):
    return load_file(folder / "adapters" / f"{name}.safetensors")


@contextmanager
def once_under_way(folder, pattern, act):
    """Do something as soon as a run has recorded something."""
    over = threading.Event()

    def watch():
        while not list(folder.glob(pattern)) and not over.wait(0.005):
            pass
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def processes(pool):
    """The process of each worker."""
    import ray

    asked = [actor.__ray_call__.remote(lambda self: os.getpid()) for actor in pool._actors.values()]
    return ray.get(asked)


@pytest.fixture(scope="module")
def undisturbed(simulation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, run(simulation, folder)


def test_a_cluster_gives_the_points_of_one_process(alone, undisturbed):
    _, expected_in, expected = alone
    folder, found = undisturbed
    for name, point in expected.items():
        assert {key: found[name][key] for key in SAME} == {key: point[key] for key in SAME}
        private = math.isfinite(float(point["epsilon_target"]))
        assert [key in point for key in RELEASED] == [private] * 2
        assert alike(*([at.get(key) for key in RELEASED] for at in (found[name], point)))
        one, other = adapters(expected_in, name), adapters(folder, name)
        assert one.keys() == other.keys()
        for key, array in one.items():
            same = relative(other[key], array) < 1e-6 if array.any() else not other[key].any()
            assert same, (name, key)


LOCAL = {"unit": "example", "trust": "local", "max_participations": 4}
LOCAL |= {"adaptive_clipping": 0.0, "metrics_share": 0.0}


def test_devices_ledgers_survive_the_worker_that_wrote_them(alone, simulation, tmp_path):
    """What a killed worker recorded counts once, and its message is the same again."""
    expected = run(alone[0], tmp_path / "alone", LOCAL, EPSILONS[:1])
    folder, told, (name,) = tmp_path / "run", [], expected
    simulation.workers().keep_in(tmp_path)
    victim = processes(simulation.workers())[0]
    with once_under_way(folder, "devices/*/*", lambda: os.kill(victim, signal.SIGKILL)):
        found = run(simulation, folder, LOCAL, EPSILONS[:1], told)
    assert len(told) == 1
    assert "its work is done again" in told[0]
    assert {key: found[name][key] for key in SAME} == {key: expected[name][key] for key in SAME}
    for one, other in zip(found[name]["history"], expected[name]["history"], strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    for key, array in adapters(tmp_path / "alone", name).items():
        assert relative(adapters(folder, name)[key], array) < 1e-6 or not array.any(), key
    assert not list(tmp_path.glob(".probe*"))


def test_a_lost_node_changes_nothing(cluster, simulation, undisturbed, tmp_path):
    """The other worker does the work of both; the sums are the same to the last bit."""
    folder, told = tmp_path / "run", []
    nodes = cluster[0], cluster[1]
    with once_under_way(folder, "points/*.checkpoint", lambda: remove(*nodes)):
        found = run(simulation, folder, told=told)
    for again in range(
        20
    ):  # how soon its worker ends is Ray's to say: some run is the first without
        if told:
            break
        folder = tmp_path / f"next-{again}"
        found = run(simulation, folder, told=told)
    assert any("its work is done again" in line for line in told)
    for name, point in undisturbed[1].items():
        assert {key: found[name][key] for key in SAME} == {key: point[key] for key in SAME}
        assert found[name]["history"] == point["history"]
        ours, theirs = adapters(folder, name), adapters(undisturbed[0], name)
        assert {key: array.tobytes() for key, array in ours.items()} == {
            key: array.tobytes() for key, array in theirs.items()
        }


def remove(cluster, nodes):
    with what_ray_leaves_open():
        cluster.remove_node(nodes.pop(), allow_graceful=False)


def test_a_cluster_is_refused_in_a_line_where_nobody_answers(monkeypatch):
    from simulations.workers.pool import open_pool

    # Ray itself would try for minutes.
    monkeypatch.setattr("ray.init", lambda **how: pytest.fail("Ray is asked all the same"))
    config = from_dict({"engine": {"address": "127.0.0.1:9", "device": "cpu"}})
    with pytest.raises(ConfigError, match=r"address = 127\.0\.0\.1:9: nobody answers"):
        open_pool(config, None, None)
