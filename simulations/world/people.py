"""The people of the synthetic world: tastes, when they come, and on which occasions.

What a person is depends on the world's seed and the person's number alone. Each effect draws from
its own place in the person's streams, so that switching one on leaves the others as they were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

YEAR = 365 * 24 * 3600  # seconds that the world lasts
SCENARIOS = ("home", "work", "travel", "weekend", "holiday")
SHORTEST, LONGEST = 5, 60  # steps of a person
_LOG_MEAN, _LOG_SD = 3.1, 0.5
_USER, _COURSE = 0x75736572, 0x636F7572  # keep random streams of one seed apart


@dataclass(frozen=True)
class Person:
    """One person, drawn anew whenever asked about.

    Attributes
    ----------
    rng : Generator
        The person's own stream, after what is below was drawn.
    steps : int
        How often they choose, or are shown a slate.
    taste, later : float64 [features]
        At the start of the year, and after a full turn; independent, of equal law.
    times : int64 [steps]
        Seconds since the start of the year, in order.
    scenarios : int64 [steps]
        In [0, scenarios).
    """

    rng: np.random.Generator
    steps: int
    taste: NDArray[np.float64]
    later: NDArray[np.float64]
    times: NDArray[np.int64]
    scenarios: NDArray[np.int64]

    def turn(self, drift: float, time: int) -> tuple[float, float]:
        """Weights of `taste` and `later` at a time: cosine and sine of the angle turned so far.

        A full turn (drift 1) takes a year and is a right angle, so that tastes keep their law at
        every time and have nothing left of the first ones at the end.
        """
        angle = 0.5 * np.pi * drift * time / YEAR
        return float(np.cos(angle)), float(np.sin(angle))


def draw_person(
    seed: int, user: int, taste_sd: NDArray[np.float64], scenarios: int, longest: int
) -> Person:
    """Draw a person.

    Parameters
    ----------
    seed, user : int
        Each >= 0.
    taste_sd : float64 [features]
    scenarios : int
        At least 1. A person's shares of them are uniform on the simplex.
    longest : int
        Upper bound on steps.
    """
    rng = np.random.default_rng((_USER, seed, user))
    steps = steps_of(rng.standard_normal(), longest)
    taste = taste_sd * rng.standard_normal(len(taste_sd))
    course = np.random.default_rng((_COURSE, seed, user))
    later = taste_sd * course.standard_normal(len(taste_sd))
    joined = 0.5 * course.random()  # in the first half of the year
    # Always as many numbers, so that the next ones do not depend on how many are used.
    times = joined + (1 - joined) * np.sort(course.random(LONGEST)[:steps])
    occasion = course.random(LONGEST)[:steps]
    shares = course.standard_exponential(scenarios).cumsum()
    return Person(
        rng,
        steps,
        taste,
        later,
        np.minimum((times * YEAR).astype(np.int64), YEAR - 1),
        np.minimum(shares.searchsorted(occasion * shares[-1], side="right"), scenarios - 1),
    )


def steps_of(z: float, longest: int) -> int:
    """Log-normal number of steps at a standard normal z, within [5, longest]."""
    return min(max(round(float(np.exp(_LOG_MEAN + _LOG_SD * z))), SHORTEST), longest)
