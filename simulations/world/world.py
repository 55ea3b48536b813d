"""A synthetic world: users with known tastes meet text-described items, one after the other.

The chance that user u, having met the items c_1 ... c_n, meets item i next is

    p(i | u, c)  proportional to  exp(popularity_i + f_i . (taste_u + interest(c)))

over the items not yet met, where f_i holds what the text says of the item (genre, theme, mood,
setting) and a hidden part that it does not say, taste_u is drawn once per user, and

    interest(c) = sum_k decay^k pull[c_{n-k}]

is what the latest items make a user want: more of the same genre, setting and hidden kind, and the
theme that tends to follow. So popularity, text, collaboration between users and order all help to
predict, each to a degree, and the truth is known: `true_probabilities`.

Settings (`WorldConfig`) let more happen: tastes that drift, several scenarios, items that arrive
during the year, and slates shown by a logging policy instead of free choice. `docs/world.md` has
the equations; `people`, `laws` and `slates` the parts.

Histories are generated on demand and kept nowhere. A history depends only on the world's seed, its
items, its settings and the user's index, not on how many users there are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import cached_property
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from shared.config import WorldConfig
from shared.data.catalogue import Catalogue
from shared.data.identifiers import normalised
from shared.data.population import check_user
from shared.errors import DataError
from simulations.world.laws import Laws, attraction
from simulations.world.people import LONGEST, SHORTEST, YEAR, Person, draw_person, steps_of
from simulations.world.slates import FREE, Interactions, SlatePolicy, Slates, examination

# Of the generator: raise the first with any change to what a seed gives, the second with one to
# what it gives where settings let more happen.
_VERSION, _EFFECTS_VERSION = 1, 1
_SLATES = 0x736C6174  # keeps this stream apart from others of one seed

MIN_ITEMS = 20  # at the start of the year


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
    settings : WorldConfig, optional
        By default nothing but what the module's docstring says.

    Raises
    ------
    DataError
        For a parameter out of range, or a catalogue too small for arrivals and slates.
    """

    def __init__(
        self,
        users: int = 600,
        items: int = 300,
        seed: int = 0,
        settings: WorldConfig | None = None,
    ) -> None:
        _check("users", users, 1)
        _check("items", items, MIN_ITEMS)
        _check("seed", seed, 0)
        self.settings = settings or WorldConfig()
        self._users, self.seed = users, seed
        self.laws = Laws(items, seed, self.settings)
        first = int((self.arrivals == 0).sum())
        _check("items from the start (what world.arrivals leaves)", first, MIN_ITEMS)
        self._longest = _most_steps(first, self.settings.slate)

    @property
    def arrivals(self) -> NDArray[np.int64]:
        """When each item appears, in seconds of the year, int64 [items]; most at 0."""
        return self.laws.arrivals

    def policy(self, temperature: float, exploration: float) -> SlatePolicy:
        """A policy over this world's popularity: with its own settings, the one that logged."""
        return SlatePolicy(self.laws.appeal, temperature, exploration)

    @property
    def name(self) -> str:
        """For reports: `world`."""
        return "world"

    @property
    def catalogue(self) -> Catalogue:
        """The items, the same for every number of users."""
        return self.laws.catalogue

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the generator's version and parameters, and of the catalogue."""
        content = [_VERSION, self._users, self.seed, self.laws.catalogue.digest]
        if self.settings != WorldConfig():
            content += [_EFFECTS_VERSION, json.dumps(dataclasses.asdict(self.settings))]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @cached_property
    def interactions(self) -> int:
        """The expected number of interactions: counting them would mean generating them.

        With slates it is an estimate from at most 200 users.
        """
        if self.settings.slate:
            asked = range(min(self._users, 200))
            return round(self._users * float(np.mean([len(self.history(user)) for user in asked])))
        quantiles = [NormalDist().inv_cdf((k + 0.5) / 1000) for k in range(1000)]
        return round(self._users * float(np.mean([steps_of(z, self._longest) for z in quantiles])))

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
        name = normalised(user_id)
        digits = name[1:20]
        if digits.isdecimal() and name == f"u{int(digits)}" and int(digits) < self._users:
            return int(digits)
        raise DataError(f"world: no user {user_id!r}; users are u0 to u{self._users - 1}")

    @property
    def keys(self) -> range:
        """The users' own numbers: what a person is depends on nothing else."""
        return range(self._users)

    def user_of(self, key: int) -> int:
        """The number itself; `DataError` if it is outside [0, len)."""
        check_user(key, self._users, self.name)
        return key

    def history(self, user: int) -> NDArray[np.int64]:
        """Item indices, oldest first, int64 [n], read-only, generated anew at every call.

        n is 5 to 60; with slates it is the number of clicks, which may be 0.

        Raises
        ------
        DataError
            If the index is outside [0, len).
        """
        history = self.interactions_of(user).items
        history.flags.writeable = False  # as the histories of a log are
        return history

    def interactions_of(self, user: int) -> Interactions:
        """The history with times, scenarios and positions.

        Raises
        ------
        DataError
            If the index is outside [0, len).
        """
        if self.settings.slate:
            return self.slates(user).interactions
        person = self.person(user)
        utilities = self.laws.utilities(person)
        # In (0, 1], so that an item of weight zero (met already) is never drawn below.
        chances = 1.0 - person.rng.random(person.steps)
        items = np.empty(person.steps, dtype=np.int64)
        met = np.zeros(len(self.catalogue), dtype=bool)
        interest = self.laws.interest(items[:0])
        for step in range(person.steps):
            time, scenario = int(person.times[step]), int(person.scenarios[step])
            utility = utilities(time, scenario) + self.laws.pulled(interest)
            utility[met] = -np.inf
            if self.settings.arrivals:
                utility[self.arrivals > time] = -np.inf
            cumulative = np.exp(utility).cumsum()
            item = int(cumulative.searchsorted(chances[step] * cumulative[-1]))
            items[step] = item
            met[item] = True
            interest = self.laws.after(interest, item)
        free = np.full(person.steps, FREE, dtype=np.int64)
        return Interactions(items, person.times, person.scenarios, free)

    def slates(self, user: int) -> Slates:
        """All that the logging policy showed to a user, with every chance.

        Raises
        ------
        DataError
            If the index is outside [0, len), or the world has no slates.
        """
        size = self._slate()
        person = self.person(user)
        utilities = self.laws.utilities(person)
        policy = self.policy(self.settings.temperature, self.settings.exploration)
        rng = np.random.default_rng((_SLATES, self.seed, user))
        looked_at = examination(size, self.settings.position_bias)
        shape = (person.steps, size)
        items, clicks = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=bool)
        propensities, chances = np.empty(shape), np.empty(shape)
        unmet = np.ones(len(self.catalogue), dtype=bool)
        interest = self.laws.interest(items[:0, 0])
        for step in range(person.steps):
            time, scenario = int(person.times[step]), int(person.scenarios[step])
            shown, propensities[step] = policy.draw(unmet & (self.arrivals <= time), size, rng)
            utility = utilities(time, scenario) + self.laws.pulled(interest)
            chances[step] = looked_at * attraction(utility[shown])
            clicks[step] = rng.random(size) < chances[step]
            for item in shown[clicks[step]]:
                unmet[item] = False
                interest = self.laws.after(interest, int(item))
            items[step] = shown
        return Slates(items, propensities, chances, clicks, person.times, person.scenarios)

    def attractions(
        self, user: int, context: NDArray[np.int64], time: int = 0, scenario: int = 0
    ) -> NDArray[np.float64]:
        """Chance that the user clicks each item once it is looked at, float64 [items].

        Parameters
        ----------
        user : int
            In [0, len).
        context : int64 [n]
            The items clicked so far, oldest first: the user's own, or others.
        time : int
            Seconds of the year, in [0, 31536000).
        scenario : int
            In [0, world.scenarios).

        Raises
        ------
        DataError
            If user, time or scenario is out of range, or the world has no slates.
        """
        self._slate()
        return attraction(self._wanted(user, context, time, scenario))

    def true_probabilities(
        self, user: int, context: NDArray[np.int64], time: int = 0, scenario: int = 0
    ) -> NDArray[np.float64]:
        """What the user would freely choose next, had they met the items of `context` until now.

        Parameters
        ----------
        user : int
            In [0, len).
        context : int64 [n]
            Any distinct items, oldest first: the user's own history, or another one.
        time : int
            Seconds of the year, in [0, 31536000); matters where tastes drift or items arrive.
        scenario : int
            In [0, world.scenarios).

        Returns
        -------
        float64 [items]
            Sums to 1; 0 for the items of the context and those that have not arrived.

        Raises
        ------
        DataError
            If user, time or scenario is out of range, or the context leaves no item.
        """
        utility = self._wanted(user, context, time, scenario)
        utility[context] = -np.inf
        utility[self.arrivals > time] = -np.inf
        if np.isneginf(utility).all():
            raise DataError(f"world: user {user} has met all {len(utility)} items; none is left")
        weights = np.exp(utility - utility.max())
        return np.asarray(weights / weights.sum())

    def _wanted(
        self, user: int, context: NDArray[np.int64], time: int, scenario: int
    ) -> NDArray[np.float64]:
        """Utility of every item after a context, [items]."""
        for name, value, end in (
            ("time", time, YEAR),
            ("scenario", scenario, self.settings.scenarios),
        ):
            if not 0 <= value < end:
                raise DataError(f"world: {name} = {value} is outside [0, {end})")
        utilities = self.laws.utilities(self.person(user))
        return utilities(time, scenario) + self.laws.pulled(self.laws.interest(context))

    def person(self, user: int) -> Person:
        """Their tastes, times and occasions; a DataError outside [0, len)."""
        check_user(user, self._users, self.name)
        return draw_person(
            self.seed, user, self.laws.taste_sd, self.settings.scenarios, self._longest
        )

    def _slate(self) -> int:
        if not self.settings.slate:
            raise DataError("world: no slates are shown in it; set world.slate to 1 or more")
        return self.settings.slate


def _check(name: str, value: int, least: int) -> None:
    if value < least:
        raise DataError(f"world: {name} = {value}; it must be at least {least}")


def _most_steps(first: int, slate: int) -> int:
    """So many steps that nobody runs out of items, even of those `first` there."""
    if not slate:
        return min(LONGEST, first // 2)
    least = slate * (SHORTEST + 1)
    if first < least:
        raise DataError(
            f"world: world.slate = {slate} needs at least {least} items from the start; there are"
            f" {first}: raise data.world_items, or lower world.slate or world.arrivals"
        )
    return min(LONGEST, first // slate - 1)
