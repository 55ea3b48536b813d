"""One point of an online run, told in order: recommend, feedback, one federated sum, day by day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from client.serving.exploration import chances_of, draw
from client.serving.exploration.policies import parsed
from shared.config import ModelConfig
from shared.data.catalogue import Catalogue
from shared.model.directions import leading
from shared.model.sources.choice import find, vectors_of
from shared.privacy.contribution.feedback import user_feedback
from simulations.exploration.budget import Lifetime
from simulations.exploration.learner import Learner, Prior
from simulations.exploration.settings import OnlineConfig
from simulations.world.crowd import Crowd
from simulations.world.world import World

Array = NDArray[np.float64]

_CHOICE = 0x63686F69  # keeps this stream apart from others of one seed


@dataclass(frozen=True)
class Course:
    """What a point came to, over people and by day; all of it the evaluator's.

    Attributes
    ----------
    regret : list of float
        Expected clicks of the best slate less those of what was shown, a person of the beginning.
    reward : list of float
        Clicks, a person of the beginning.
    present : list of float
        Share of people who were still there.
    """

    regret: list[float]
    reward: list[float]
    present: list[float]


@dataclass(frozen=True)
class Stage:
    """One seed's world with its people, and the items' public vectors."""

    crowd: Crowd
    vectors: Array

    @classmethod
    def of(cls, config: OnlineConfig, seed: int) -> Stage:
        """Each seed is a world of its own: other items, other people, other answers."""
        world = World(config.users, config.items, seed)
        vectors = public_vectors(world.catalogue, config.backbone, config.components)
        return cls(Crowd(world, config.course), vectors)


@torch.no_grad()
def public_vectors(catalogue: Catalogue, backbone: str, components: int) -> Array:
    """What the frozen encoder says of items, [items, d], leading components first.

    Of mean squared length 1 in the first `components`.
    """
    model = ModelConfig(backbone=backbone)
    sources = find(model)
    table = torch.from_numpy(vectors_of(catalogue, sources, model)).double()
    table = table - table.mean(0)
    _, down = leading(table, min(table.shape[1], len(table) - 1))
    turned = (table @ down.T).numpy()
    length = np.sqrt((turned[:, :components] ** 2).sum(1).mean())
    return np.asarray(turned / max(float(length), 1e-9))


def run_days(
    stage: Stage,
    config: OnlineConfig,
    policy: str,
    lifetime: Lifetime,
    seed: int,
    told: Callable[[int], None] = lambda day: None,
) -> Course:
    """Run a policy over all days.

    Parameters
    ----------
    stage : Stage
    config : OnlineConfig
    policy : str
        `NAME` or `NAME=STRENGTH`.
    lifetime : Lifetime
    seed : int
        Of what people answer, and of what policies draw.
    told : callable, optional
        Of every day that is over.
    """
    crowd, (name, strength) = stage.crowd, parsed(policy)
    crowd.reset(seed)
    prior = Prior(memory=config.memory)
    learner = Learner(stage.vectors, crowd.start, prior, config.components, config.draws)
    regret, reward, present = [], [], []
    for day in range(config.days):
        # 1. Every device chooses a slate, by what it believes today.
        rng = np.random.default_rng((_CHOICE, seed, day))
        beliefs = learner.beliefs(name, strength, rng)
        chances = chances_of(name, beliefs, strength or None)
        slates, _ = draw(chances, crowd.open_items, config.slate, rng)
        lost = crowd.best() - crowd.expected(slates)
        # 2. People answer; each device learns of its own person.
        answers = crowd.step(slates)
        seen = crowd.looked_at * answers.present[:, None]
        own = learner.learn(slates, answers.clicks, seen)
        # 3. The clipped contributions are summed; the event is on the ledger, then the sum noised.
        clipped = user_feedback(own, crowd.looked_at).reshape(own.shape)
        released = lifetime.release(day, learner.added(slates, clipped))
        learner.hear(*lifetime.sums(released, crowd.looked_at))
        regret.append(float((lost * answers.present).mean()))
        reward.append(float(answers.clicks.sum(1).mean()))
        present.append(float(answers.present.mean()))
        told(day)
    return Course(regret, reward, present)
