"""A synthetic world: users with known tastes meet text-described items, one after the other.

The chance that user u, having met the items c_1 ... c_n, meets item i next is

    p(i | u, c)  proportional to  exp(popularity_i + f_i . (taste_u + interest(c)))

over the items not yet met, where f_i holds what the text says of the item (genre, theme, mood,
setting) and a hidden part that it does not say, taste_u is drawn once per user, and

    interest(c) = sum_k decay^k pull[c_{n-k}]

is what the latest items make a user want: more of the same genre, setting and hidden kind, and the
theme that tends to follow. So popularity, text, collaboration between users and order all help to
predict, each to a degree, and the truth is known: `true_probabilities`.

Histories are generated on demand and kept nowhere. A history depends only on the world's seed, its
items and the user's index, not on how many users there are.
"""

from __future__ import annotations

import hashlib
import json
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from shared.data.catalogue import Catalogue
from shared.data.population import check_user
from shared.errors import DataError
from simulations.world_items import GENRES, HIDDEN, MOODS, SETTINGS, THEMES, draw_items

_VERSION = 1  # of the generator: raise it with any change to what a seed gives
_ITEMS, _USER = 0x6974656D, 0x75736572  # keep random streams of one seed apart

MIN_ITEMS = 20
SHORTEST, LONGEST = 5, 60  # interactions in a history
_LENGTH_LOG_MEAN, _LENGTH_LOG_SD = 3.1, 0.5

# The difficulty. Fixed before any model was tuned on the world; see docs/data.md for what it gives.
_ZIPF = 0.9
_TASTE = {"genre": 0.7, "theme": 0.5, "mood": 0.3, "setting": 0.3, "hidden": 0.7}  # sd
_PULL = {"genre": 1.0, "theme": 0.8, "mood": 0.0, "setting": 1.0, "hidden": 1.2}
_FOLLOW = 2.0  # pull towards the theme that tends to follow
_DECAY = 0.6


class World:
    """A seeded synthetic population of any size (implements `Population`).

    Parameters
    ----------
    users : int
        At least 1. Costs no memory.
    items : int
        At least 20.
    seed : int
        At least 0.

    Raises
    ------
    DataError
        For a parameter out of range.
    """

    def __init__(self, users: int = 600, items: int = 300, seed: int = 0) -> None:
        _check("users", users, 1)
        _check("items", items, MIN_ITEMS)
        _check("seed", seed, 0)
        self._users, self._seed = users, seed
        rng = np.random.default_rng((_ITEMS, seed))
        drawn = draw_items(items, rng, _ZIPF)
        self._catalogue = drawn.catalogue
        self._features = np.concatenate([drawn.visible, drawn.hidden], axis=1)  # [items, features]
        self._appeal = drawn.popularity  # [items]
        self._pull = self._features * _per_feature(_PULL)  # [items, features]
        following = rng.permutation(len(THEMES))
        themes = slice(len(GENRES), len(GENRES) + len(THEMES))
        self._pull[:, themes][:, following] += _FOLLOW * self._features[:, themes]
        self._taste_sd = _per_feature(_TASTE)
        self._longest = min(LONGEST, items // 2)

    @property
    def name(self) -> str:
        """For reports: `world`."""
        return "world"

    @property
    def catalogue(self) -> Catalogue:
        """The items, the same for every number of users."""
        return self._catalogue

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the generator's version and parameters, and of the catalogue."""
        content = [_VERSION, self._users, self._seed, self._catalogue.digest]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def interactions(self) -> int:
        """The expected number of interactions: counting them would mean generating them."""
        quantiles = [NormalDist().inv_cdf((k + 0.5) / 1000) for k in range(1000)]
        return round(self._users * float(np.mean([self._length(z) for z in quantiles])))

    def __len__(self) -> int:
        return self._users

    def user_id(self, user: int) -> str:
        """`u` and the index."""
        check_user(user, self._users, self.name)
        return f"u{user}"

    def user_index(self, user_id: str) -> int:
        """The index in `u<index>`.

        Raises
        ------
        DataError
            If it is no user of this world.
        """
        digits = user_id[1:]
        if user_id[:1] == "u" and digits.isdecimal() and int(digits) < self._users:
            return int(digits)
        raise DataError(f"world: no user {user_id!r}; users are u0 to u{self._users - 1}")

    def history(self, user: int) -> NDArray[np.int64]:
        """Item indices, oldest first, int64 [5 to 60], read-only, generated anew at every call.

        Raises
        ------
        DataError
            If the index is outside [0, len).
        """
        rng, length, logits = self._draw(user)
        # In (0, 1], so that an item of weight zero (met already) is never drawn below.
        chances = 1.0 - rng.random(length)
        history = np.empty(length, dtype=np.int64)
        interest = np.zeros(self._features.shape[1])
        for step in range(length):
            cumulative = np.exp(logits + self._features @ interest).cumsum()
            item = cumulative.searchsorted(chances[step] * cumulative[-1])
            history[step] = item
            logits[item] = -np.inf
            interest = _DECAY * interest + self._pull[item]
        history.flags.writeable = False  # as the histories of a log are
        return history

    def true_probabilities(self, user: int, context: NDArray[np.int64]) -> NDArray[np.float64]:
        """What the user would really do next, had they met the items of `context` until now.

        Parameters
        ----------
        user : int
            In [0, len).
        context : int64 [n]
            Any distinct items, oldest first: the user's own history, or another one.

        Returns
        -------
        float64 [items]
            Sums to 1; 0 for the items of the context.

        Raises
        ------
        DataError
            If the user is unknown or the context leaves no item.
        """
        _, _, logits = self._draw(user)
        interest = np.zeros(self._features.shape[1])
        for item in context:
            interest = _DECAY * interest + self._pull[item]
        logits += self._features @ interest
        logits[context] = -np.inf
        if np.isneginf(logits).all():
            raise DataError(f"world: user {user} has met all {len(logits)} items; none is left")
        weights = np.exp(logits - logits.max())
        return np.asarray(weights / weights.sum())

    def _draw(self, user: int) -> tuple[np.random.Generator, int, NDArray[np.float64]]:
        """A user's random stream, history length and log-attraction to each item [items]."""
        check_user(user, self._users, self.name)
        rng = np.random.default_rng((_USER, self._seed, user))
        length = self._length(rng.standard_normal())
        taste = self._taste_sd * rng.standard_normal(len(self._taste_sd))
        return rng, length, self._appeal + self._features @ taste

    def _length(self, z: float) -> int:
        length = round(float(np.exp(_LENGTH_LOG_MEAN + _LENGTH_LOG_SD * z)))
        return min(max(length, SHORTEST), self._longest)


def _check(name: str, value: int, least: int) -> None:
    if value < least:
        raise DataError(f"world: {name} = {value}; it must be at least {least}")


def _per_feature(strengths: dict[str, float]) -> NDArray[np.float64]:
    """One strength per feature, in the order of the features."""
    sizes = {
        "genre": len(GENRES),
        "theme": len(THEMES),
        "mood": len(MOODS),
        "setting": len(SETTINGS),
        "hidden": HIDDEN,
    }
    return np.concatenate([np.full(size, strengths[group]) for group, size in sizes.items()])
