"""The Ray engine gives the cohort engine's point of the curve: same seed, same people, noise on."""

import gc
import json
import math
import warnings
from contextlib import contextmanager

import pytest
from safetensors.numpy import load_file

from shared.aggregation import RULES
from shared.config import at_epsilon, from_dict, to_dict
from shared.errors import EngineError, StarlingError
from shared.model.adapter import RELEASED as ONCE
from shared.privacy.ledger.ledger import Ledger
from shared.run_files import RunFolder, point_name
from simulations.sweep.machines import Machines
from simulations.sweep.point import run_point
from simulations.world.world import World
from tests.support.federations import point_config
from tests.support.tiny import alike, draw_released, relative

TOLERANCE = 1e-4
USERS = 14
SAME = ("metrics", "validation", "epsilon", "noise_multiplier", "communication_bytes", "cohort")
RELEASED = ("released_metrics", "clipping_norms")


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A log with three people more than take part, whose keys are in another order than they."""
    world, folder = World(users=USERS + 3, items=60), tmp_path_factory.mktemp("log")
    items = [f'{item},"{text}"' for item, text in enumerate(world.catalogue.texts)]
    rows = [
        f"person {user},{item},{time}"
        for user in range(len(world))
        for time, item in enumerate(world.history(user))
    ]
    (folder / "items.csv").write_text("\n".join(["item,text", *items]) + "\n")
    (folder / "interactions.csv").write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    return str(folder)


def settings(tiny_bert, log, engine, epsilon=2.0, seed=5):
    tree = to_dict(point_config(tiny_bert, epsilon))
    tree["data"] |= {"spec": log, "users": USERS}
    tree["federation"] |= {"cohort": 6.0, "evaluate_every": 1}
    tree["privacy"] |= {"adaptive_clipping": 0.5, "metrics_share": 0.2}
    tree["engine"] = {"engine": engine, "workers": 2 if engine == "ray" else 0}
    return from_dict(tree | {"seed": seed})


@pytest.fixture(scope="module")
def cohort(tiny_bert, log):
    with Machines(settings(tiny_bert, log, "cohort")) as simulation:
        yield simulation


@pytest.fixture(scope="module")
def ray(tiny_bert, log):
    """One Ray for the module, its workers warm after the first test."""
    with Machines(settings(tiny_bert, log, "ray")) as simulation:
        with what_ray_leaves_open():
            simulation.ray()
        yield simulation
        with what_ray_leaves_open():
            simulation.__exit__(None, None, None)


@contextmanager
def what_ray_leaves_open():
    """Ray drops open files and processes that it ended without waiting for them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def run(simulation, folder, epsilon, seed=5, rule="fedit"):
    rounds = []
    tree = to_dict(simulation.config)
    tree["federation"]["aggregation"] = rule
    if rule == "flexlora":  # clients that are sent different things; its clip does not adapt
        tree["federation"]["ranks"] = [1, 2]
        tree["privacy"]["adaptive_clipping"] = 0.0
    del tree["model"]["factors"]
    if math.isinf(epsilon):  # the last iterate: the best by validation may be the start itself
        tree["federation"]["evaluate_every"] = 0
    config = at_epsilon(from_dict(tree), epsilon, seed)
    draw_released(simulation.engine(config.model).recommender)  # not the actors': it travels
    point = run_point(simulation, config, folder, rounds.append)
    arrays = load_file(folder / "adapters" / f"{point_name(epsilon, seed)}.safetensors")
    return point.stated, arrays, rounds


@pytest.mark.parametrize("epsilon", [2.0, math.inf])
def test_ray_gives_the_cohorts_point(epsilon, cohort, ray, tmp_path):
    theirs, expected, rounds = run(cohort, tmp_path / "cohort", epsilon)
    ours, found, told = run(ray, tmp_path / "ray", epsilon)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert array.any() or name not in ONCE, name
        assert (found[name] == array).all() or relative(found[name], array) < TOLERANCE, name
    assert any((array != 0).any() for name, array in expected.items() if name not in ONCE)
    assert {key: ours[key] for key in SAME} == {key: theirs[key] for key in SAME}
    private = math.isfinite(epsilon)
    assert [name in ours for name in RELEASED] == [private] * 2
    assert alike([ours.get(name) for name in RELEASED], [theirs.get(name) for name in RELEASED])
    assert (ours["noise_multiplier"] > 0) == math.isfinite(epsilon)
    for mine, other in zip(ours["history"], theirs["history"], strict=True):
        assert mine == pytest.approx(other, rel=TOLERANCE)
    assert [entry["round"] for entry in told] == [entry["round"] for entry in rounds]
    ledgers = [
        Ledger.open(folder / f"ledger-{point_name(epsilon, 5)}.jsonl").entries
        for folder in (tmp_path / "cohort", tmp_path / "ray")
    ]
    assert [entry.event for entry in ledgers[0]] == [entry.event for entry in ledgers[1]]


OFTEN = ("fedsa", "fedsb")  # what they send and keep is unlike the others'
SLOW = [pytest.param(r, marks=pytest.mark.slow) for r in RULES if r not in OFTEN and r != "fedit"]


@pytest.mark.parametrize("rule", [*OFTEN, *SLOW])
def test_ray_gives_the_cohorts_point_under_every_rule(rule, cohort, ray, tmp_path):
    """Actors build what is never sent themselves."""
    theirs, expected, _ = run(cohort, tmp_path / "cohort", 2.0, rule=rule)
    ours, found, _ = run(ray, tmp_path / "ray", 2.0, rule=rule)
    for name, array in expected.items():
        if array.any():  # what stays on devices is zero in the file
            assert relative(found[name], array) < TOLERANCE, name
    assert {key: ours[key] for key in SAME} == {key: theirs[key] for key in SAME}


def test_another_seed_is_another_point(cohort, tmp_path):
    """Otherwise the comparison above would show nothing."""
    _, one, _ = run(cohort, tmp_path / "one", 2.0, seed=5)
    _, other, _ = run(cohort, tmp_path / "other", 2.0, seed=6)
    assert max(relative(one[name], other[name]) for name in one) > 0.05


def test_what_a_worker_refuses_ends_the_run_in_one_line(ray, tmp_path):
    """The driver checks the data first; a worker that sees other data must refuse it too."""
    file = RunFolder(tmp_path).data
    file.parent.mkdir()
    file.write_text(json.dumps({"salt": ray.data.salt, "digest": "0" * 64}))
    with pytest.raises(EngineError, match="not the data that the run started with") as caught:
        run_point(ray, ray.config, tmp_path, lambda entry: None)
    assert "\n" not in str(caught.value)


def test_an_error_of_the_server_is_the_same_error(ray, tmp_path):
    """The ServerApp runs in this thread: its errors need no translation."""
    tree = to_dict(ray.config)
    tree["privacy"]["delta"] = 0.5
    with pytest.raises(StarlingError, match=r"privacy\.delta \(--delta\) = 0\.5") as caught:
        run_point(ray, from_dict(tree), tmp_path, lambda entry: None)
    assert caught.value.exit_code == 2
