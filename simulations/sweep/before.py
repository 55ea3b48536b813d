"""What is known before any training: whom nothing can be shown of, and what is worth little."""

from __future__ import annotations

from collections.abc import Sequence

from shared.config import ExperimentConfig
from shared.data.protocol import protocol_warnings
from shared.errors import DataError
from shared.privacy.plan.plan import server_plan
from simulations.engine.simulation import Simulation


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


def warnings(simulation: Simulation, points: Sequence[ExperimentConfig]) -> list[str]:
    """What everybody who reads the figures must know, one line each; most often nothing."""
    users = len(simulation.users)
    return [
        *protocol_warnings(simulation.protocol.stated()),
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
