"""All people of a world at once, who answer what is shown to them, day by day.

Everybody who is still there visits once a day and is shown one slate. Place p of it is clicked with

    P(click) = (1 + p)^-eta . attraction(v),   attraction as in `simulations.world.laws`
    v(i) = popularity_i + f_i . (taste_u + interest_u) - boredom . genre_i . fatigue_u

given the clicks of earlier days. Four things may happen beside that:

- *arrivals*: a share of the items appears on a day of its own;
- *shift*: on one day tastes become the second taste of each person, and a share of the items
  exchange their popularity among themselves;
- *boredom*: fatigue_u = decay . fatigue_u + mean of the genres of a slate, after each slate;
- *churn*: after a slate with c clicks a person leaves for good with chance churn . exp(-c).

The clicks of a day are drawn from (seed, day, person, place) alone: two policies that show the same
to the same person see the same, and nobody's answers depend on anybody else's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from client.serving.exploration.slates import examination
from shared.errors import DataError
from simulations.world.items import GENRES
from simulations.world.laws import attraction
from simulations.world.world import World

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

EMPTY = -1  # of a place that shows nothing
_CLICKS, _SHIFT, _CHURN, _APPEAR = 0x636C6963, 0x73686966, 0x6368726E, 0x61707065
_REST = 0.8  # of a fatigue that is left a day later


@dataclass(frozen=True)
class Course:
    """What happens over the days.

    Attributes
    ----------
    days : int
        >= 1.
    slate : int
        Places.
    position_bias : float
        eta >= 0.
    history : int
        Items that everybody met before the first day, by the world's own law; 0: a service that
        begins.
    arrivals : float
        Share of the items that appears after the first day, in [0, 1).
    shift : int
        Day of the shift, counted from 0; 0: none.
    exchanged : float
        Share of the items that exchange popularity in it, in [0, 1].
    again : bool
        Whether what was clicked may be shown again.
    boredom, churn : float
        >= 0; in [0, 1].
    """

    days: int = 30
    slate: int = 5
    position_bias: float = 0.5
    history: int = 0
    arrivals: float = 0.0
    shift: int = 0
    exchanged: float = 0.5
    again: bool = False
    boredom: float = 0.0
    churn: float = 0.0


@dataclass
class _State:
    """Of everybody, before a day's visit."""

    met: Mask  # [people, items]
    interest: Array  # [people, features]
    fatigue: Array  # [people, genres]
    present: Mask  # [people]
    day: int = 0


@dataclass(frozen=True)
class Answers:
    """Of one day; what somebody who has left is shown counts for nothing.

    Attributes
    ----------
    clicks : bool [people, slate]
    present : bool [people]
        Who was there to be shown it.
    """

    clicks: Mask
    present: Mask


@dataclass
class Crowd:
    """The people of a world over some days; `reset` before the first.

    Parameters
    ----------
    world : World
        Without slates and drift of its own: what happens is the course's.
    course : Course
    users : sequence of int, optional
        Which of the world's people; default: all.

    Attributes
    ----------
    start : bool [people, items]
        What everybody met before the first day.
    looked_at : float64 [slate]
        Chance that each place is looked at.

    Raises
    ------
    DataError
        If there are too few items for so many days of slates that are all clicked.
    """

    world: World
    course: Course
    users: Sequence[int] | None = None
    _seed: int = field(default=0, init=False)
    _known: tuple[int, Array] | None = field(default=None, init=False)  # of a day

    def __post_init__(self) -> None:
        laws, course = self.world.laws, self.course
        self.features, self._pull = laws.features, laws.pull
        self._features32 = self.features.astype(np.float32)
        users = range(len(self.world)) if self.users is None else self.users
        people = [self.world.person(user) for user in users]
        self._tastes = np.stack([[one.taste, one.later] for one in people], axis=1)  # [2, p, f]
        rng = np.random.default_rng((_SHIFT, self.world.seed))
        count = len(laws.appeal)
        moved = rng.permutation(count)[: int(course.exchanged * count)]
        later = laws.appeal.copy()
        later[moved] = laws.appeal[rng.permutation(moved)]
        self._appeals = np.stack([laws.appeal, later])  # [2, items]
        self._appears = self._appearing(count)
        self._met = np.zeros((len(people), count), dtype=bool)
        self._interest = np.zeros((len(people), self.features.shape[1]))
        for place, user in enumerate(users if course.history else ()):
            self._remember(place, user)
        self.start = self._met.copy()
        self.looked_at = examination(course.slate, course.position_bias)
        self.reset(0)

    def _appearing(self, count: int) -> NDArray[np.int64]:
        """The day on which each item appears, most on the first."""
        course = self.course
        rng = np.random.default_rng((_APPEAR, self.world.seed))
        late = rng.permutation(count)[: int(course.arrivals * count)]
        appears = np.zeros(count, dtype=np.int64)
        if course.days > 1:
            appears[late] = rng.integers(1, course.days, size=len(late))
        least = course.slate + course.history
        if int((appears == 0).sum()) < least:
            raise DataError(
                f"{int((appears == 0).sum())} items on the first day: expected at least {least}, a "
                "slate beside what people met; give more items, or fewer arrivals"
            )
        return appears

    def _remember(self, place: int, user: int) -> None:
        """What a person met before the first day, among what is there then."""
        history = self.world.history(user)
        kept = history[self._appears[history] == 0][: self.course.history]
        self._met[place, kept] = True
        interest = np.zeros(self.features.shape[1])
        for item in kept:
            interest = self.world.laws.after(interest, int(item))
        self._interest[place] = interest

    def reset(self, seed: int) -> None:
        """Everybody as before the first day; `seed` is of what they will answer."""
        self._seed, self._known = seed, None
        fatigue = np.zeros((len(self._met), len(GENRES)))
        everybody = np.ones(len(self._met), dtype=bool)
        self._state = _State(self._met.copy(), self._interest.copy(), fatigue, everybody)

    @property
    def day(self) -> int:
        """The next one, from 0."""
        return self._state.day

    @property
    def present(self) -> Mask:
        """Who is still there, [people]."""
        return self._state.present.copy()

    @property
    def fatigue(self) -> Array:
        """Of each genre, [people, genres]: a person's own, which a device could keep too."""
        return self._state.fatigue.copy()

    @property
    def open_items(self) -> Mask:
        """What may be shown: there, and neither met nor clicked before, [people, items]."""
        there = self._appears <= self._state.day
        if self.course.again:
            return np.broadcast_to(there, self._state.met.shape).copy()
        return np.asarray(~self._state.met & there)

    @property
    def shifted(self) -> bool:
        """Whether the shift has been."""
        return bool(0 < self.course.shift <= self._state.day)

    def attractions(self) -> Array:
        """The true chance that each item is clicked once it is looked at, [people, items]."""
        state, now = self._state, int(self.shifted)
        if self._known is not None and self._known[0] == state.day:
            return self._known[1]
        wanted = self._tastes[now] + state.interest
        utility = wanted.astype(np.float32) @ self._features32.T
        utility += self._appeals[now].astype(np.float32)
        if self.course.boredom:
            genres = self.features[:, : len(GENRES)]
            utility -= (self.course.boredom * state.fatigue @ genres.T).astype(np.float32)
        self._known = state.day, attraction(utility.astype(np.float32))
        return self._known[1]

    def step(self, slates: NDArray[np.int64]) -> Answers:
        """Show everybody a slate, int64 [people, slate], and go on to the next day.

        A place may be `EMPTY`.

        Raises
        ------
        DataError
            If the days are over, or a slate has another form, an item twice or one not open.
        """
        state, course = self._state, self.course
        self._check(slates)
        rng = np.random.default_rng((_CLICKS, self.world.seed, self._seed, state.day))
        shown = slates != EMPTY
        chances = self.looked_at * np.take_along_axis(self.attractions(), slates, 1) * shown
        clicks = (rng.random(slates.shape) < chances) & state.present[:, None]
        was = state.present.copy()
        for place in range(course.slate):  # from the top down, as interest follows the last one
            people = np.flatnonzero(clicks[:, place])
            items = slates[people, place]
            state.met[people, items] = True
            state.interest[people] = self.world.laws.decay * state.interest[people]
            state.interest[people] += self._pull[items]
        genres = self.features[slates, : len(GENRES)] * shown[..., None]
        state.fatigue = _REST * state.fatigue + genres.mean(1)  # [people, genres]
        if course.churn:
            coin = np.random.default_rng((_CHURN, self.world.seed, self._seed, state.day))
            leaves = coin.random(len(was)) < course.churn * np.exp(-clicks.sum(1))
            state.present &= ~leaves
        state.day += 1
        return Answers(clicks, was)

    def best(self) -> Array:
        """Clicks expected of the best slate there is, by the truth, [people]."""
        chances = np.where(self.open_items, self.attractions(), np.float32(0))
        top = torch.topk(torch.from_numpy(chances), self.course.slate).values.numpy()
        return np.asarray(top @ self.looked_at)

    def expected(self, slates: NDArray[np.int64]) -> Array:
        """Clicks expected of slates, by the truth, [people]."""
        return np.asarray(np.take_along_axis(self.attractions(), slates, 1) @ self.looked_at)

    def _check(self, slates: NDArray[np.int64]) -> None:
        state, wanted = self._state, (len(self._met), self.course.slate)
        if state.day >= self.course.days:
            raise DataError(f"day {state.day}: the course has {self.course.days}; reset it")
        if slates.shape != wanted:
            raise DataError(f"slates of shape {slates.shape}: expected {wanted}")
        rows, places = np.nonzero((slates != EMPTY) & state.present[:, None])
        items = slates[rows, places]
        if not self.open_items[rows, items].all():
            raise DataError("slates: an item that is not there yet, or was met, is in one")
        if len(np.unique(rows * state.met.shape[1] + items)) < len(items):
            raise DataError("slates: an item is twice in one")
