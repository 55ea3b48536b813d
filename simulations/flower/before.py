"""What is known before any training: whom nothing can be shown of, and what is worth little."""

from __future__ import annotations

import math
from collections.abc import Sequence

from server.cohort.sampling import PoissonSampler
from shared.config import ExperimentConfig
from shared.data.protocol import protocol_warnings
from shared.errors import ConfigError, DataError
from shared.privacy.plan.plan import server_plan
from simulations.engine.simulation import Simulation
from simulations.flower.grid import nodes_of


def refuse_data(simulation: Simulation) -> None:
    """Refuse people of whom no run can show anything.

    Raises
    ------
    DataError
        If there is one person alone, or nobody whom an evaluation can ask.
    """
    name, users = simulation.population.name, len(simulation.population)
    if users < 2:
        raise DataError(
            f"{name}: {users} person; expected at least 2, as a federation learns from some for "
            "others: give more data, or more --users"
        )
    if why := simulation.protocol.why_nobody:
        raise DataError(f"{name}: {why}; give more data, or more --users")


def refuse_empty_rounds(simulation: Simulation, points: Sequence[ExperimentConfig]) -> None:
    """Refuse points that nobody would train: who is drawn follows from the seed.

    Raises
    ------
    ConfigError
        If all rounds of one would be empty.
    """
    nodes = nodes_of(simulation.population)
    for point in points:
        federation, rounds = point.federation, point.federation.fixed_rounds
        expected = federation.expected_cohort(len(nodes))
        if not rounds:  # what is released once is all that there is
            expected = federation.expected_popularity_cohort(len(nodes))
            drawn = bool(PoissonSampler(expected, len(nodes), point.seed).draw(0, nodes))
        elif point.privacy.mechanism != "gaussian" and math.isfinite(point.privacy.epsilon):
            drawn = rounds * expected >= 1  # by turns
        else:
            sampler = PoissonSampler(expected, len(nodes), point.seed)
            drawn = any(sampler.draw(number, nodes) for number in range(1, rounds + 1))
        if not drawn:
            if not rounds:
                raise ConfigError(
                    f"federation.popularity_cohort: with {expected:g} expected of {len(nodes)} "
                    f"people nobody is drawn under seed {point.seed}; expect more"
                )
            raise ConfigError(
                f"federation.cohort (--cohort): with {expected:g} expected of {len(nodes)} people "
                f"nobody is drawn in any of {rounds} round(s) under seed {point.seed}; expect "
                "more, or give more --rounds"
            )


def warnings(simulation: Simulation, points: Sequence[ExperimentConfig]) -> list[str]:
    """What everybody who reads the figures must know, one line each; most often nothing."""
    users, catalogue = len(simulation.users), simulation.population.catalogue
    stated = {**simulation.protocol.stated(), "items": len(catalogue), **catalogue.stated()}
    return [
        *protocol_warnings(stated),
        *dict.fromkeys(told for point in points if (told := _noise_alone(point, users))),
    ]


def _noise_alone(point: ExperimentConfig, users: int) -> str:
    """Where the noise on each trained number exceeds all that a cohort could move it by."""
    plan, cohort = server_plan(point, users), point.federation.expected_cohort(users)
    # An update is cut to the clip, and so is each of its numbers; noise is in units of the clip.
    # What examples add up to, and what correlated noise leaves, is another matter.
    if plan is None or plan.guarantee.unit != "user" or plan.correlation is not None:
        return ""
    if plan.noise_multiplier <= cohort:  # without a budget 0
        return ""
    return (
        f"epsilon {point.privacy.epsilon:g}: the noise on every trained number is "
        f"{plan.noise_multiplier / cohort:.3g} times all that a cohort of {cohort:.3g} could move "
        "it by; a larger --epsilon, more people or a larger --cohort would leave something to learn"
    )
