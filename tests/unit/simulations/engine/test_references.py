"""Reference points against loops that anyone can follow."""

import dataclasses

import numpy as np
import pytest
import torch

from client.device.device import Device
from client.training.batches import user_windows
from client.training.evaluate import target_ranks
from client.training.train import window_loss
from shared.config import ReferenceConfig
from shared.data.split import held_out, training_history
from shared.metrics import ranking_metrics
from shared.model.adapter import current
from simulations.engine import references
from simulations.engine import simulation as simulation_module
from simulations.engine.references import REFERENCES
from simulations.engine.simulation import Simulation
from simulations.world.world import World
from tests.support.federations import point_config
from tests.support.tiny import Edited, relative

ITEMS = 60
SHORT = {0: [], 1: [7], 2: [3, 9], 3: [4, 5, 6]}


@pytest.fixture(scope="module")
def config(tiny_bert):
    made = point_config(tiny_bert, epsilon=float("inf"))
    settings = ReferenceConfig(centralized_epochs=2, centralized_batch=8, local_steps=2)
    return dataclasses.replace(made, references=settings)


@pytest.fixture(scope="module")
def simulation(config):
    population = Edited(World(users=14, items=ITEMS), SHORT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation_module, "open_population", lambda *arguments: population)
        return Simulation(config)


def measure(simulation, scores_of, config, phase="test"):
    """Ranks by one user at a time, in their order; `scores_of` a user and a context."""
    ranks = []
    for user in simulation.users:
        history = simulation.population.history(user)
        case = held_out(history, phase, ITEMS)
        if case is not None:
            scores = scores_of(user, case.context)
            ranks.append(target_ranks(scores, history, case, config.data.negatives, user))
    assert len(ranks) == 11
    return tuple(list(each) for each in zip(*ranks, strict=True))


def both(simulation, scores_of, config):
    test = measure(simulation, scores_of, config)
    return {
        "metrics": ranking_metrics(*test),
        "validation": ranking_metrics(*measure(simulation, scores_of, config, "validation")),
        "ranks": {"sampled": test[0], "full": test[1]},
    }


def silent(updates, remark=""):
    pass


class Progress(list):
    """What was told: client updates and a remark, each time."""

    def __call__(self, updates, remark=""):
        self.append((updates, remark))

    @property
    def updates(self):
        return sum(updates for updates, _ in self)


def test_popularity_counts_users_that_trained_on_an_item(simulation, config):
    counts = np.zeros(ITEMS)
    for user in simulation.users:
        for item in training_history(simulation.population.history(user)):
            counts[item] += 1
    found = REFERENCES["popularity"](simulation, config, silent)
    assert found == both(simulation, lambda user, context: counts, config)


def model_scores(simulation, config, adapter):
    engine = simulation.engine(config.model)
    device = Device(np.empty(0, np.int64), 0, engine.recommender)
    return lambda user, context: device.scores(adapter, context, config.model.max_length)


def test_zero_shot_is_the_initial_adapter(simulation, config):
    engine = simulation.engine(config.model)
    initial = current(engine.recommender, engine.schema)
    found = REFERENCES["zero_shot"](simulation, config, silent)
    assert found == both(simulation, model_scores(simulation, config, initial), config)


def test_local_only_trains_each_user_alone(simulation, config):
    engine, settings = simulation.engine(config.model), config.references
    initial = current(engine.recommender, engine.schema)
    released = engine.schema.part(initial, engine.schema.trainable.names).frozen
    own = {}
    for user in simulation.users:
        cut = user_windows(simulation.population.history(user), config)
        if not len(cut):
            continue
        theta = initial.clone().requires_grad_(True)
        optimizer = torch.optim.SGD([theta], lr=settings.local_lr)
        for _ in range(settings.local_steps):
            loss = window_loss(
                engine.recommender,
                {**engine.schema.unflatten(theta), **released},
                torch.from_numpy(cut.inputs),
                torch.from_numpy(cut.targets),
            )
            (theta.grad,) = torch.autograd.grad(loss, theta)
            optimizer.step()
        assert all(
            torch.equal(tensor, engine.schema.unflatten(theta)[name])
            for name, tensor in released.items()
        )
        own[user] = theta.detach()

    def scores_of(user, context):
        return model_scores(simulation, config, own[user])(user, context)

    progress = Progress()
    found = REFERENCES["local_only"](simulation, config, progress)
    assert found == both(simulation, scores_of, config)  # trained in another order of users
    assert progress.updates == 11 * 2  # users that can be ranked, steps


def test_centralized_learns_and_tells_every_epoch(simulation, config):
    progress = Progress()
    found = REFERENCES["centralized"](simulation, config, progress)
    assert found["epochs"] == len(progress) == 2
    assert progress.updates == 2 * len(simulation.users)
    assert found["metrics"]["users"] == 11
    again = REFERENCES["centralized"](simulation, config, silent)
    assert again == found
    hard = dataclasses.replace(
        config, references=ReferenceConfig(centralized_epochs=8, centralized_lr=0.03)
    )
    untrained = REFERENCES["zero_shot"](simulation, config, silent)["validation"]["mrr"]
    assert REFERENCES["centralized"](simulation, hard, silent)["validation"]["mrr"] > untrained


def test_a_simulation_builds_a_model_once_and_one_backbone_only(simulation, config):
    engine = simulation.engine(config.model)
    assert simulation.engine(dataclasses.replace(config.model)) is engine
    other = dataclasses.replace(config.model, lora_rank=1)
    assert simulation.engine(other).schema.dim < engine.schema.dim
    with pytest.raises(ValueError, match="one backbone per experiment"):
        simulation.engine(dataclasses.replace(config.model, backbone="minilm"))


def test_references_are_over_the_evaluated_users(simulation, config):
    """Counted, trained and ranked: with six users, on six users."""
    few = dataclasses.replace(simulation.config.data, evaluated_users=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation, "config", dataclasses.replace(simulation.config, data=few))
        assert simulation.evaluated == [0, 1, 2, 3, 4, 5]
        found = {name: run(simulation, config, silent) for name, run in REFERENCES.items()}
    assert {name: part["metrics"]["users"] for name, part in found.items()} == dict.fromkeys(
        REFERENCES, 3
    )  # three have too short a history


def test_a_batch_in_pieces_gives_the_gradient_of_the_whole(simulation, config, monkeypatch):
    """Windows with few targets must not weigh as much as full ones."""
    engine = simulation.engine(config.model)
    part = engine.alone(config)
    theta = part.start.clone().requires_grad_(True)
    inputs, targets = references._pooled(simulation, config)
    assert len({int(count) for count in (targets >= 0).sum(1)}) > 2
    loss = window_loss(engine.recommender, part.schema.unflatten(theta), inputs, targets)
    (whole,) = torch.autograd.grad(loss, theta)
    assert (
        relative(references._gradient(engine, part, theta, inputs, targets), whole.numpy()) < 1e-6
    )
    monkeypatch.setattr(references, "_MEMORY_BUDGET", 3 * 4 * 4 * inputs.shape[1] * ITEMS)
    assert (
        relative(references._gradient(engine, part, theta, inputs, targets), whole.numpy()) < 1e-5
    )
