"""The batched cohort equals the one-client-at-a-time loop through the real ClientApp."""

import math

import numpy as np
import pytest
import torch

from shared.config import EngineConfig, ModelConfig
from shared.model.backbone import resolve
from shared.model.recommender import build_recommender
from shared.privacy.contribution.units import metrics_times
from simulations.engine.cohort import CohortEngine
from simulations.flower.grid import CohortGrid, SequentialGrid
from simulations.world.world import World
from tests.support.asking import trained
from tests.support.federations import federate, point_config
from tests.support.tiny import (
    Edited,
    alike,
    make_engine,
    random_adapter,
    relative,
    with_micro_batch,
)

pytestmark = pytest.mark.usefixtures("flower")

TOLERANCE = 1e-4
# Short histories among the others: none, one, two and just enough interactions.
SHORT = {0: [], 1: [7], 2: [3, 9], 3: [4, 5, 6]}

CASES = {
    "private": {},
    "private, several steps, part of the windows, hidden context": {
        "train": {
            "local_steps": 2,
            "local_batch": 1,
            "history_dropout": 0.3,
            "weight_decay": 0.01,
        }
    },
    "private, momentum, averaged iterates": {
        "federation": {"server_optimizer": "fedavgm", "server_lr": 0.5, "average_last": 0.7}
    },
    "private, the clip adapts, metrics from devices": {
        "federation": {"metrics_every": 1, "metrics_cohort": 0.6},
        "privacy": {"adaptive_clipping": 0.6, "metrics_share": 0.2, "clipping_norm": 0.05},
    },
    "private, without rounds, moments": {
        "federation": {"rounds": 0},
        "privacy": {"moments_share": 0.4},
    },
    "private, without rounds": {"federation": {"rounds": 0}, "privacy": {"metrics_share": 0.2}},
    "not private, one step: one gradient for all": {
        "epsilon": math.inf,
        "train": {"history_dropout": 0.3, "weight_decay": 0.01},
        "federation": {"evaluate_every": 1},
    },
    "not private, several steps": {"epsilon": math.inf, "train": {"local_steps": 2}},
    "private, exposure corrected": {
        "train": {"local_steps": 2, "correction": "snips", "weight_bound": 1.5}
    },
}


@pytest.fixture(scope="module")
def engine(tiny_bert):
    return make_engine(Edited(World(users=40, items=60), SHORT), tiny_bert)


@pytest.fixture(scope="module")
def one_by_one(engine, tiny_bert, tmp_path_factory):
    """The slow loop's run of a case, computed once."""
    done = {}

    def run(case):
        if case not in done:
            folder = tmp_path_factory.mktemp("sequential")
            with pytest.MonkeyPatch.context() as patch:
                config = point_config(tiny_bert, **CASES[case])
                done[case] = federate(folder, SequentialGrid(engine), config, patch)
        return done[case]

    return run


WAYS = [(1, "packed"), (7, "packed"), (16, "packed"), (7, "padded")]


# What they have of their own is on the server, or in another case too.
SELDOM = (
    "private, momentum, averaged iterates",
    "private, without rounds",
    "not private, several steps",
    "private, exposure corrected",  # its gradients: tests/unit/client/training/test_weights.py
)


@pytest.mark.parametrize(("micro_batch", "batching"), WAYS)
@pytest.mark.parametrize(
    "case",
    [pytest.param(each, marks=[pytest.mark.slow] * (each in SELDOM)) for each in CASES],
)
def test_batched_equals_one_by_one(
    case, micro_batch, batching, engine, one_by_one, tiny_bert, tmp_path, monkeypatch
):
    slow = one_by_one(case)
    config = point_config(tiny_bert, **CASES[case])
    grid = CohortGrid(with_micro_batch(engine, micro_batch, batching))
    fast = federate(tmp_path, grid, config, monkeypatch)
    together = config.model.moments_rank and (case.startswith("not") or "moments" in case)
    releases = 1 + bool(together) + config.federation.rounds + metrics_times(config)
    assert len(fast.totals) == len(slow.totals) == releases
    for number, (ours, theirs) in enumerate(zip(fast.totals, slow.totals, strict=True)):
        assert np.linalg.norm(theirs) > 0
        assert relative(ours, theirs) < TOLERANCE, f"sum of release {number}"
    assert relative(fast.adapter, slow.adapter) < TOLERANCE
    before = random_adapter(engine.schema).numpy()
    assert relative(slow.adapter, before) > 0.05  # otherwise the line above shows nothing
    assert fast.outcome["metrics"] == slow.outcome["metrics"]
    assert fast.outcome["validation"] == slow.outcome["validation"]
    for name in ("released_metrics", "clipping_norms"):
        assert alike(fast.outcome.get(name), slow.outcome.get(name))
    assert [entry.event for entry in fast.ledger.entries] == [
        entry.event for entry in slow.ledger.entries
    ]


def test_noise_is_on_in_the_private_cases(one_by_one):
    outcome = one_by_one("private").outcome
    assert outcome["noise_multiplier"] > 0.5
    assert all(entry["noise_norm"] > 0 for entry in outcome["history"])


def test_the_clip_does_adapt_and_metrics_are_released_in_the_parity_run(one_by_one):
    run = one_by_one("private, the clip adapts, metrics from devices")
    norms = run.outcome["clipping_norms"]
    assert norms[0] == 0.05
    assert len(set(norms)) == 4  # of three rounds, and the next one's
    assert any(abs(total[-1]) > 0.5 for total in run.totals)  # bits of several people
    assert [found["round"] for found in run.outcome["released_metrics"]["releases"]] == [1, 2, 3]
    kinds = [(entry.round, entry.release) for entry in run.ledger.entries]
    steps = [(number, kind) for number in (1, 2, 3) for kind in ("update", "metrics")]
    assert kinds == [(0, "histogram"), *steps]


def test_the_users_of_a_parity_run_include_those_without_a_window(one_by_one):
    """Of 40 users three have under three interactions: they train and are not ranked."""
    assert one_by_one("private").outcome["metrics"]["users"] == 37


@pytest.fixture(scope="module")
def minilm():
    """One real layer over random item vectors: no text needs to be encoded."""
    population = World(users=12, items=60)
    settings = ModelConfig(layers=1, max_length=12, lora_rank=4, item_rank=4, projection_rank=8)
    vectors = np.random.default_rng(0).normal(size=(60, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    recommender = build_recommender(resolve("minilm"), vectors, settings)
    return CohortEngine(population, recommender, EngineConfig(micro_batch=5))


def test_the_bundled_language_model_too(minilm, tmp_path, monkeypatch):
    model = {"layers": 1, "max_length": 12, "lora_rank": 4, "lora_targets": ["query", "value"]}
    config = point_config(
        "minilm", model=model, federation={"rounds": 1, "cohort": 8.0, "popularity_start": False}
    )
    slow = federate(tmp_path / "slow", SequentialGrid(minilm), config, monkeypatch)
    fast = federate(tmp_path / "fast", CohortGrid(minilm), config, monkeypatch)
    assert relative(fast.totals[0], slow.totals[0]) < TOLERANCE
    assert relative(fast.adapter, slow.adapter) < TOLERANCE


def test_merged_updates_sum_the_separate_ones(engine, tiny_bert):
    config = point_config(tiny_bert)
    adapter = random_adapter(engine.schema)
    users = [9, 0, 4, 21, 1]
    apart = trained(engine, users, adapter, config, merge=False)
    together = trained(with_micro_batch(engine, 2), users, adapter, config, merge=True)
    assert sorted(user for members, _ in together for user in members) == sorted(users)
    assert [len(members) for members, _ in together] == [2, 2, 1]
    assert [update.weight for _, update in together] == [2.0, 2.0, 1.0]
    alone = {members[0]: update.vector for members, update in apart}
    for members, update in together:
        expected = sum(alone[user].astype(np.float64) for user in members)
        np.testing.assert_allclose(update.vector, expected, atol=1e-6)
    assert not alone[0].any()  # no interaction, no update
    assert alone[1].any()
    assert max(update.norm for _, update in apart) <= config.privacy.clipping_norm * (1 + 1e-9)


def test_a_users_own_adapter_ranks_as_the_global_one(engine, tiny_bert):
    config = point_config(tiny_bert)
    users = [5, 6, 7]
    adapters = torch.stack([random_adapter(engine.schema, seed) for seed in users])
    together = engine.evaluate_each(users, adapters, "test", config)
    apart = [engine.evaluate([u], a, "test", config) for u, a in zip(users, adapters, strict=True)]
    assert together[0] == [sampled[0] for sampled, _ in apart]
    assert together[1] == [full[0] for _, full in apart]
