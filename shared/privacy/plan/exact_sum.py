"""How many people an exact sum is over, at least and at most: it hides each among the others."""

from __future__ import annotations

import math

from shared.config import ExperimentConfig
from shared.errors import ConfigError
from shared.privacy.contribution.units import releases_metrics
from shared.privacy.mechanisms.distributed import fewest_that_come, largest_cohort

_FEWEST = 0.6  # of those that nearly always come: with fewer nothing is opened


def expected_in(config: ExperimentConfig, users: int, kind: str) -> float:
    """Expected people in a sum of a kind.

    Raises
    ------
    ConfigError
        For a kind that nobody is asked for, or a cohort larger than the population.
    """
    federation = config.federation
    cohorts = {
        "update": federation.expected_cohort,
        "histogram": federation.expected_popularity_cohort,
        "moments": federation.expected_popularity_cohort,
        "metrics": federation.expected_metrics_cohort,
    }
    if kind not in cohorts:
        raise ConfigError(f"release {kind!r}: expected one of {', '.join(cohorts)}")
    return cohorts[kind](users)


def exact_sizes(config: ExperimentConfig, users: int, kind: str) -> tuple[int, int]:
    """The fewest and the most people in an exact sum that may be opened.

    Raises
    ------
    ConfigError
        As `expected_in`; or if nobody would be hidden.
    """
    privacy, expected = config.privacy, expected_in(config, users, kind)
    if kind == "update" and privacy.mechanism == "dp_ftrl":  # by turns
        come, most = math.floor(expected), math.ceil(expected)
    else:
        come, most = fewest_that_come(expected, users), largest_cohort(expected, users)
    fewest = max(2, math.ceil((privacy.min_survivors or _FEWEST) * come))
    if fewest > most:
        raise ConfigError(
            f"{kind}: {most} of {users} users may be in a sum, and a sum of fewer than 2 hides "
            "nobody; give more users, a larger cohort, or federation.secure_aggregation = off"
        )
    return fewest, most


def fewest_in_any(config: ExperimentConfig, users: int) -> int:
    """The fewest people in any of the sums that these settings ask for."""
    wanted = {
        "update": config.federation.fixed_rounds,
        "histogram": config.federation.popularity_start,
        "metrics": releases_metrics(config),
    }
    kinds = [kind for kind, any_ in wanted.items() if any_]
    return min(exact_sizes(config, users, kind)[0] for kind in kinds)
