"""What reaches a server in each form of trust, on real devices and simulated ones."""

import numpy as np
import pytest

from client.device.device import Device
from server.federation import run_federation
from shared.errors import ConfigError, Declined
from shared.privacy.contribution.histogram import user_histogram
from shared.privacy.guarantee import HISTOGRAM_IN_CLEAR
from simulations.world.world import World
from tests.support.asking import asked
from tests.support.federations import point_config
from tests.support.persons import Clock, Person
from tests.support.tiny import make_engine, random_adapter

pytestmark = pytest.mark.usefixtures("flower")

USER = 2
BY_EXAMPLE = {"unit": "example", "trust": "local", "delta": 1e-3}


@pytest.fixture(scope="module")
def engine(tiny_bert):
    return make_engine(World(users=4, items=60), tiny_bert)


@pytest.fixture
def answer(engine, tiny_bert, tmp_path):
    """What a device answers under some privacy settings."""
    arrays = engine.schema.split(random_adapter(engine.schema).numpy())
    history = engine.population.history(USER)

    def made(release, *, simulated=False, **privacy):
        ledger = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
        device = Device(history, USER, engine.recommender, ledger, simulated=simulated)
        number = 1 if release == "update" else 0
        config = point_config(tiny_bert, privacy=privacy, train={"local_steps": 1})
        return device.answer(asked(config, release, number, arrays=arrays)).vector

    return made


@pytest.mark.parametrize("simulated", [False, True])
def test_what_arrives(answer, simulated):
    """Central: each device's own update in clear, twice the same. Local: noised, never the same."""
    one, again = (answer("update", simulated=simulated) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert np.linalg.norm(one) == pytest.approx(0.5, rel=1e-5)  # its clip: no noise is in it
    if not simulated:  # the operating system's noise
        noised, other = (answer("update", **BY_EXAMPLE) for _ in range(2))
        assert np.linalg.norm(noised - other) > np.linalg.norm(noised) / 10


def test_a_histogram_in_clear_names_the_persons_items(answer, engine):
    """Why a real one waits."""
    history = engine.population.history(USER)
    sent = answer("histogram", simulated=True)
    np.testing.assert_array_equal(sent, user_histogram(history, len(sent)))
    assert set(np.flatnonzero(sent)) == set(history[:-2].tolist())


@pytest.mark.parametrize("epsilon", [8.0, 0.1, float("inf")])
def test_a_real_device_sends_no_histogram_in_clear(epsilon, tiny_bert, tmp_path):
    person = Person(tmp_path, Clock())
    person.caps("epsilon = inf")
    config = point_config(tiny_bert, epsilon=epsilon, federation={"popularity_start": True})
    with pytest.raises(Declined, match="would name the person's items"):
        person.asked(config, 0, release="histogram")
    assert person.rounds == []


IN_SUMS = {
    "central": {},
    "no noise": {"epsilon": float("inf")},
    "distributed": {"trust": "distributed"},
    "metrics": {"metrics_share": 0.2},
}


@pytest.mark.parametrize("release", ["update", "histogram", "metrics"])
@pytest.mark.parametrize("mode", IN_SUMS)
def test_a_real_device_gives_what_is_for_a_sum_to_a_secure_one_alone(
    mode, release, engine, tiny_bert, tmp_path
):
    """Whoever asks for it as it is gets nothing, whatever the trust."""
    privacy = dict(IN_SUMS[mode])
    sections = {"epsilon": privacy.pop("epsilon")} if "epsilon" in privacy else {}
    config = point_config(
        tiny_bert, privacy=privacy, federation={"secure_aggregation": "auto"}, **sections
    )
    arrays = engine.schema.split(random_adapter(engine.schema).numpy())
    history = engine.population.history(USER)
    device = Device(history, USER, engine.recommender, tmp_path / "ledger.jsonl")
    number = 0 if release == "histogram" else 1
    with pytest.raises(Declined, match="asked for in clear") as caught:
        device.answer(asked(config, release, number, arrays=arrays))
    assert caught.value.word == "policy"


def test_a_simulations_messages_hold_a_share_of_noise(answer):
    shared = {"trust": "distributed", "min_survivors": 0.5}
    one, clipped = answer("update", simulated=True, **shared), answer("update", simulated=True)
    assert np.count_nonzero(one) > len(one) / 2
    assert not np.array_equal(one, clipped)


def test_a_histogram_with_the_devices_own_noise_is_sent(answer, engine):
    sent = answer("histogram", **BY_EXAMPLE)
    assert np.count_nonzero(sent) == len(sent)


def test_a_real_server_does_not_start_with_one(tiny_bert, tmp_path, engine):
    from server.prepare import prepare
    from shared.run_files import run_files

    class Nodes:
        def get_node_ids(self):
            return [1, 2, 3]

    config = point_config(tiny_bert, federation={"popularity_start": True})
    run = prepare(engine.recommender, config, tmp_path)
    files = run_files(tmp_path, str(run["name"]))
    with pytest.raises(ConfigError, match="popularity_start = true") as caught:
        run_federation(Nodes(), config, files, simulated=False)
    assert HISTOGRAM_IN_CLEAR in str(caught.value)
    assert not files.ledger.exists()
