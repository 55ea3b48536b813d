"""A slate for the person of one device, and what their feedback says of the next.

    reward of item i, if looked at = w_0 + w_1 fit_i + w . z_i + noise

is a Bayesian last layer (`layer`) over the frozen model: fit_i is its score of the item after the
person's history, the product of user state and item vector, in standard deviations over what may be
shown; z_i are the item's leading public components. Before any feedback w_1 > 0 and w = 0: the
frozen model's own order. Its statistics are made of the rows of the device's store and stay there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as settings

from client.serving.exploration.layer import BayesianLayer
from client.serving.exploration.policies import Beliefs, chances_of
from client.serving.exploration.slates import Array, Mask, draw, examination
from client.store import Placed, Shown
from shared.data.catalogue import Catalogue
from shared.model.directions import leading
from shared.model.recommender import Recommender

_COMPONENTS = 16  # of item vectors, at most
_DRAWS = 256  # M of Thompson sampling
_RATE, _FIT, _TASTE, _NOISE = (0.2, 0.2), (0.1, 0.1), 0.1, 0.35  # prior (mean, sd); sd; sigma
_LEAST = 1e-9


@settings(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Exploration:
    """What its owner allows of exploring, `[exploration]` of `device.toml`.

    Attributes
    ----------
    allowed : bool
        Whether slates may be chosen by an exploration policy, and kept with their propensities.
    position_bias : float
        eta >= 0: place p, from 0, is taken to be looked at with chance (1 + p)^-eta.
    """

    allowed: bool = False
    position_bias: Annotated[float, Field(ge=0, le=10)] = 0.5


@dataclass(frozen=True)
class Scene:
    """What is known of the items before a slate is chosen.

    Attributes
    ----------
    fits : float64 [items]
    components : float64 [items, p]
        Public, of mean squared length 1.
    popularity : float64 [items]
        The release's item bias.
    open_items : bool [items]
    """

    fits: Array
    components: Array
    popularity: Array
    open_items: Mask


@torch.no_grad()
def scene_of(recommender: Recommender, scores: torch.Tensor, closed: Sequence[int]) -> Scene:
    """Of scores [items], and items that may not be shown."""
    open_items = np.ones(len(scores), dtype=bool)
    open_items[list(closed)] = False
    own = scores.double().cpu().numpy()
    among = own[open_items]
    fits = (own - among.mean()) / max(float(among.std()), _LEAST)
    table = recommender.items.double().cpu()
    table = table - table.mean(0)
    _, down = leading(table, min(_COMPONENTS, *table.shape))
    found = (table @ down.T).numpy()
    found /= max(float(np.sqrt((found**2).sum(1).mean())), _LEAST)
    bias = recommender.item_bias
    popular = np.zeros(len(own)) if bias is None else bias.weight[:, 0].double().cpu().numpy()
    return Scene(fits, found, popular, open_items)


def slate(
    scene: Scene,
    catalogue: Catalogue,
    rows: Sequence[Shown],
    asked: tuple[str, float, int],
    owned: Exploration,
    rng: np.random.Generator,
) -> list[Placed]:
    """The next slate, with the propensity of every place.

    Parameters
    ----------
    scene : Scene
    catalogue : Catalogue
    rows : sequence of Shown
        What was shown so far; what the catalogue does not hold is left out.
    asked : (str, float, int)
        Policy, strength and places.
    owned : Exploration
    rng : Generator

    Raises
    ------
    ConfigError
        If there are fewer open items than places, or no such policy.
    """
    name, strength, places = asked
    features = np.column_stack([np.ones(len(scene.fits)), scene.fits, scene.components])
    width = features.shape[1]
    sd = np.array([_RATE[1], _FIT[1], *[_TASTE] * (width - 2)])
    layer = BayesianLayer(np.array([_RATE[0], _FIT[0], *[0.0] * (width - 2)]), sd, _NOISE)
    known = [each for each in rows if each.item in catalogue]
    items = np.array([catalogue.index(each.item) for each in known], dtype=np.int64)
    x = features[items]
    x[:, 1] = [each.fit for each in known]
    most = max((each.position for each in known), default=0) + 1
    x *= examination(most, owned.position_bias)[[each.position for each in known], None]
    clicks = np.array([float(each.clicked) for each in known])
    found = layer.posterior(*layer.statistics(x, clicks))
    normal = rng.standard_normal((_DRAWS, width)) if name == "thompson" else np.zeros((1, width))
    beliefs = Beliefs(
        found.expected(features),
        found.spread(features),
        found.draws(features, normal, strength),
        scene.popularity,
    )
    chosen, chances = draw(chances_of(name, beliefs, strength), scene.open_items, places, rng)
    return [
        Placed(
            place, catalogue.item_ids[i], float(chances[place]), float(scene.fits[i]), *asked[:2]
        )
        for place, i in enumerate(chosen.tolist())
    ]
