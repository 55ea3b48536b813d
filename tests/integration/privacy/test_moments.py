"""What people have together carries the noise that the plan says, whoever computed the sum.

The noise is compared with its null distribution at a level of 1e-7 on either side, over 1,830
coordinates: with fresh keys a sound release fails with probability 2e-7 (the seed is fixed), and
noise that is 15% too small or too large is found nearly always.
"""

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy import stats

from client.device.agreement import in_clear
from server.checkpoint import load
from server.federation import run_federation
from server.release.moments import Moments
from shared.errors import ConfigError
from shared.privacy.guarantee import HISTOGRAM_IN_CLEAR
from shared.privacy.plan.plan import server_plan
from shared.privacy.policy.issue import promises
from simulations.flower.grid import CohortGrid, SequentialGrid
from simulations.world.world import World
from tests.support.federations import federate, point_config, prepare
from tests.support.tiny import make_engine, relative

pytestmark = pytest.mark.usefixtures("flower")

LEVEL = 1e-7
USERS = 25


@pytest.fixture(scope="module")
def engine(tiny_bert):
    return make_engine(World(users=USERS, items=60), tiny_bert)


def config_of(tiny_bert, **privacy):
    federation = {"rounds": 0, "cohort": 1.0}
    return point_config(tiny_bert, federation=federation, privacy={"moments_share": 0.4, **privacy})


def noise_of(run, config):
    """In units of what was planned, [K]."""
    plan = server_plan(config, USERS)
    released = load_file(run.files.moments)["total"]
    return (released - run.totals[1]) / plan.moments_noise_multiplier


def believable(noise):
    p = stats.chi2(len(noise)).cdf(float(noise @ noise))
    return min(p, 1 - p) > LEVEL


def test_the_noise_is_the_planned_one(engine, tiny_bert, tmp_path, monkeypatch):
    config = config_of(tiny_bert)
    noise = noise_of(federate(tmp_path, CohortGrid(engine), config, monkeypatch), config)
    assert len(noise) == 1830
    assert believable(noise)
    assert abs(noise.mean()) < 5.4 / np.sqrt(len(noise))
    for false in (0.85, 1.15):  # the check can fail
        assert not believable(noise * false)


def test_exact_moments_enter_where_an_iterate_is_ranked_or_released(
    engine, tiny_bert, tmp_path, monkeypatch
):
    """Rounds are trained without them; with them the last iterate is the released one."""
    federation = {"rounds": 2, "cohort": 1.0}
    config = point_config(tiny_bert, np.inf, federation=federation)
    run = federate(tmp_path, CohortGrid(engine), config, monkeypatch)
    state, released = load(run.files.checkpoint), load_file(run.files.adapter)
    initial = load_file(run.files.initial)
    found = Moments.of(state, 0.0)
    assert found.basis.exact
    assert len(found.total) == 60 * 59 // 2
    for name, table in found.written(engine.schema).items():
        where = engine.schema.slice_of(name)
        np.testing.assert_array_equal(state.adapter[where], initial[name].ravel())
        np.testing.assert_allclose(released[name].ravel(), table, rtol=1e-6)
        assert table.any()
    rest = np.ones(engine.schema.dim, dtype=bool)
    for name in found.written(engine.schema):
        rest[engine.schema.slice_of(name)] = False
    whole = engine.schema.join(released)
    np.testing.assert_allclose(whole[rest], state.adapter[rest], rtol=1e-5, atol=1e-7)


def test_shares_of_noise_sum_to_it(engine, tiny_bert, tmp_path, monkeypatch):
    """Devices' own: what is summed is noised already, and alike one by one and together."""
    config = config_of(tiny_bert, trust="distributed")
    runs = [
        federate(tmp_path / name, grid(engine), config, monkeypatch)
        for name, grid in (("all", CohortGrid), ("each", SequentialGrid))
    ]
    np.testing.assert_array_equal(*(run.totals[1] for run in runs))
    exact = federate(tmp_path / "exact", CohortGrid(engine), config_of(tiny_bert), monkeypatch)
    plan = server_plan(config, USERS)
    apart = runs[0].totals[1] - exact.totals[1]
    # Of another basis, as the histogram's noise is another: sums differ by what people give too.
    assert np.linalg.norm(apart) > 0.5 * plan.moments_noise_multiplier * np.sqrt(len(apart))
    assert relative(runs[0].adapter, runs[1].adapter) < 1e-4


def test_a_real_device_s_own_is_in_clear_and_waits(engine, tiny_bert, tmp_path):
    config = config_of(tiny_bert)
    assert in_clear("moments", promises(config, USERS)) == HISTOGRAM_IN_CLEAR
    files = prepare(tmp_path, engine)
    files.public.unlink()
    with pytest.raises(ConfigError, match="moments_rank needs what is public"):
        run_federation(CohortGrid(engine), config, files, simulated=True)
