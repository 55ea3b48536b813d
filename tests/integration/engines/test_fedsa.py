"""FedSA: B stays where it was trained, whatever happens; what leaves is A's, clipped alone."""

import math

import numpy as np
import pytest
import torch
from flwr.app import MessageType

from client.device.device import Device
from client.training.personal import PersonalStore, PersonalTensors
from server import round as round_module
from server.checkpoint import load
from server.federation import run_federation
from shared.aggregation import RULES
from shared.aggregation.selective import downs, ups
from shared.config import settings_hash
from shared.errors import ConfigError
from shared.metrics import ranking_metrics
from shared.model.adapter import current
from simulations.engine.ranking import personal_file
from simulations.flower.grid import CohortGrid, SequentialGrid
from simulations.world.world import World
from tests.support.asking import asked, ranked, trained
from tests.support.federations import federate, point_config, prepare
from tests.support.tiny import make_engine, random_adapter, relative, with_micro_batch

pytestmark = pytest.mark.usefixtures("flower")

RULE = RULES["fedsa"]
USERS = 12
SECTIONS = {
    "federation": {"aggregation": "fedsa", "rounds": 4, "cohort": 7.0},
    "train": {"max_windows": 2, "personal_lr": 4.0},
}


@pytest.fixture(scope="module")
def engine(tiny_bert):
    return make_engine(World(users=USERS, items=30), tiny_bert)


@pytest.fixture(scope="module")
def config(tiny_bert):
    return point_config(tiny_bert, **SECTIONS)


def state(folder):
    return folder / "devices" / "point"


def kept(folder, engine, config):
    dim = engine.schema.subset(RULE.personal(engine.schema.names)).dim
    store = PersonalStore(personal_file(state(folder)), settings_hash(config), dim)
    return store.latest(range(USERS), config.federation.rounds)


@pytest.fixture(scope="module")
def whole(engine, config, tmp_path_factory):
    """An uninterrupted run."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("whole")
        return federate(folder, CohortGrid(engine, state(folder)), config, patch)


class Listening(SequentialGrid):
    """Keeps every array that passes, either way."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.down, self.up = [], []

    def send_and_receive(self, messages, *, timeout=None):
        messages = list(messages)
        train = bool(messages) and messages[0].metadata.message_type == MessageType.TRAIN
        for message in messages if train else []:
            self.down.append(dict(message.content["arrays"].items()))
        for reply in super().send_and_receive(messages, timeout=timeout):
            if train:
                assert set(reply.content) == {"update", "metrics", "config"}
                self.up.append(reply.content["update"]["vector"].numpy())
            yield reply


def test_nothing_of_b_travels(engine, config, tmp_path, monkeypatch):
    grid = Listening(engine, state(tmp_path))
    run = federate(tmp_path, grid, config, monkeypatch)
    schema = engine.schema
    personal = set(RULE.personal(schema.names))
    assert set(ups(schema.names)) < personal  # and the item table's two
    assert grid.up
    for arrays in grid.down:
        assert set(arrays) == set(schema.names) - personal
    shared = schema.subset([n for n in schema.trainable.names if n not in personal])
    assert {len(vector) for vector in grid.up} == {shared.dim}
    # No stretch of anyone's B, nor of how it changed, is in what anyone sent.
    before = schema.join(schema.split(current(engine.recommender, schema).numpy()))
    own = schema.places(schema.subset(tuple(personal)))
    sent = np.concatenate(grid.up)
    for mine in kept(tmp_path, engine, config).values():
        for secret in (mine, mine - before[own].astype(np.float32)):
            moved = secret[np.abs(secret) > 0]
            assert len(moved) > 100
            assert np.isin(moved, sent).mean() < 0.01  # now and then a number is met by chance
    assert run.outcome["metrics"]["users"] > 0


def test_the_released_adapter_holds_the_initial_b(whole, engine):
    schema, own = engine.schema, current(engine.recommender, engine.schema).numpy()
    at = schema.places(schema.subset(RULE.personal(schema.names)))
    np.testing.assert_array_equal(whole.adapter[at], own[at])
    shared = schema.places(schema.subset(downs(schema.names)))
    assert relative(whole.adapter[shared], random_adapter(schema).numpy()[shared]) > 0.01


def test_people_are_ranked_with_their_own(whole, engine, config):
    adapter = torch.from_numpy(whole.adapter)
    rounds, at = config.federation.rounds, state(whole.folder)
    mine = ranked(engine, range(USERS), adapter, "test", config, rounds, at)
    assert ranking_metrics(*mine) == whole.outcome["metrics"]
    assert mine != engine.evaluate(range(USERS), adapter, "test", config)
    assert len(kept(whole.folder, engine, config)) > USERS // 2


@pytest.mark.parametrize("batching", ["packed", "padded"])
def test_what_leaves_is_clipped_alone(batching, engine, config, tmp_path):
    """However much B moves, A's update has the clip to itself."""
    clip = config.privacy.clipping_norm
    adapter = random_adapter(engine.schema)
    for rate in (1e-3, 1e3):
        moved = point_config(config.model.backbone, **SECTIONS | {"train": {"personal_lr": rate}})
        small = with_micro_batch(engine, 3, batching)
        at = state(tmp_path / str(rate))
        found = trained(small, range(4), adapter, moved, merge=False, state=at)
        norms = [update.norm for _, update in found]
        assert max(norms) <= clip * (1 + 1e-9)
        assert min(norms) > 0


class Crash(Exception):
    """Stands for the end of the process."""


def in_on_round(grid, config, folder, patch):
    def stop(entry):
        if entry["round"] == 2:
            raise Crash

    files = prepare(folder, grid.engine, rule=RULE)
    run_federation(grid, config, files, simulated=True, on_round=stop)


def between_training_and_checkpoint(grid, config, folder, patch):
    """Devices have trained round 3, the server does not know."""
    save = round_module.save

    def failing(after, file):
        if after.round_number == 3:
            raise Crash
        save(after, file)

    patch.setattr(round_module, "save", failing)
    run_federation(grid, config, prepare(folder, grid.engine, rule=RULE), simulated=True)


def while_training(grid, config, folder, patch):
    """Some devices have trained round 3, others not."""
    keep = PersonalTensors.keep
    calls = []

    def failing(self, users, starts, deltas):
        calls.append(self._round)
        if calls.count(3) > 1:
            raise Crash
        return keep(self, users, starts, deltas)

    patch.setattr(PersonalTensors, "keep", failing)
    run_federation(grid, config, prepare(folder, grid.engine, rule=RULE), simulated=True)


SLOW = pytest.param(in_on_round, marks=pytest.mark.slow)  # nothing is half done
CRASHES = [SLOW, between_training_and_checkpoint, while_training]


@pytest.mark.parametrize("crash", CRASHES, ids=lambda crash: crash.__name__)
def test_resumed_equals_uninterrupted(crash, engine, config, whole, tmp_path, monkeypatch):
    grid = CohortGrid(with_micro_batch(engine, 2), state(tmp_path))
    with monkeypatch.context() as patch, pytest.raises(Crash):
        crash(grid, config, tmp_path, patch)
    resumed = federate(tmp_path, grid, config, monkeypatch)
    assert relative(resumed.adapter, whole.adapter) < 1e-5
    assert resumed.outcome["metrics"] == whole.outcome["metrics"]
    mine, theirs = kept(tmp_path, engine, config), kept(whole.folder, engine, config)
    assert mine.keys() == theirs.keys()
    for user, value in mine.items():
        assert relative(value, theirs[user]) < 1e-4


def test_a_store_that_keeps_only_the_last_round_is_seen(
    engine, config, whole, tmp_path, monkeypatch
):
    """Negative control: then a replayed round starts from what it left."""
    latest = PersonalStore.latest
    monkeypatch.setattr(PersonalStore, "latest", lambda self, users, last: latest(self, users, 99))
    with pytest.raises(AssertionError):
        test_resumed_equals_uninterrupted(
            between_training_and_checkpoint, engine, config, whole, tmp_path, monkeypatch
        )


def test_training_that_diverges_is_not_kept(engine, config, tmp_path):
    personal = PersonalTensors(config, engine.schema, 1, tmp_path / "personal.sqlite")
    names = RULE.local(engine.schema.names, 1)
    part = engine.schema.part(random_adapter(engine.schema), names)
    starts = personal.starts(part.start, [0, 1])
    deltas = torch.ones_like(starts)
    deltas[0, engine.schema.subset(names).places(engine.schema.subset(ups(names)))[0]] = math.nan
    personal.keep([0, 1], starts, deltas)
    assert personal.trained([0, 1]) == 1
    after = PersonalTensors(config, engine.schema, 2, tmp_path / "personal.sqlite")
    again = after.starts(part.start, [0, 1])
    assert torch.equal(again[0], part.start)
    assert not torch.equal(again[1], part.start)


def test_a_device_without_a_folder_refuses(engine, config):
    device = Device(np.arange(9), 0, engine.recommender)
    schema = engine.schema
    arrays = schema.split(random_adapter(schema).numpy())
    shared = {n: a for n, a in arrays.items() if n not in RULE.personal(schema.names)}
    with pytest.raises(ConfigError, match=r"under .* = fedsa"):
        device.answer(asked(config, users=USERS, arrays=shared))


def test_validation_selects_no_earlier_iterate(engine, tiny_bert, tmp_path, monkeypatch):
    """Devices have the B of their last round, and none that would go with it."""
    federation = SECTIONS["federation"] | {"evaluate_every": 1}
    config = point_config(tiny_bert, **SECTIONS | {"epsilon": math.inf, "federation": federation})
    run = federate(tmp_path, CohortGrid(engine, state(tmp_path)), config, monkeypatch)
    validated = [entry["hr@10"] for entry in run.outcome["history"]]
    assert len(validated) == 4
    assert run.outcome["validation"]["hr@10"] == validated[-1]
    state_at_the_end = load(run.files.checkpoint)
    assert state_at_the_end.best_score < 0
    schema = engine.schema
    ours, ended = (schema.split(a) for a in (run.adapter, state_at_the_end.adapter))
    moments = {name for name in schema.names if name.startswith("moments")}  # enter at the end
    assert 0 < len(moments) < len(schema.names)
    for name in set(schema.names) - moments:
        np.testing.assert_array_equal(ours[name], ended[name].astype(np.float32))


REFUSED = {
    "privacy.unit = example": {"privacy": {"unit": "example"}},
    "privacy.unit = both": {"privacy": {"unit": "both"}},
    "engine.address = auto": {"engine": {"address": "auto"}},
    "federation.select = private_metric": {
        "federation": {"select": "private_metric", "metrics_every": 1},
        "privacy": {"metrics_share": 0.3},
    },
    "model.lora_rank = 0": {"model": {"lora_rank": 0}},
}


@pytest.mark.parametrize("other", REFUSED)
def test_what_does_not_go_with_it_is_refused_by_both_names(other, tiny_bert):
    sections = {"federation": {}, **REFUSED[other]}
    sections |= {"federation": sections["federation"] | {"aggregation": "fedsa"}}
    with pytest.raises(ConfigError, match=rf"aggregation = fedsa does not go with {other}"):
        point_config(tiny_bert, **sections)
