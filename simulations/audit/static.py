"""What files and replays of a point show of its promise, whoever may attack it: all checks."""

from __future__ import annotations

from collections.abc import Sequence

from shared.errors import ConfigError
from simulations.audit.canaries import Canaries
from simulations.audit.checks import devices, neighbours, noise, people, record
from simulations.audit.findings import Finding
from simulations.audit.replay.neighbours import Reordered, Without
from simulations.audit.replay.observed import Observed
from simulations.audit.replay.replay import Replay

_OF_ONE = (
    people.clip,
    record.raw,
    noise.noise_fresh,
    people.weights,
    people.sampling,
    people.turns,
    noise.noise_scale,
    noise.noise_shape,
    devices.devices_noise,
    record.ledger,
    record.epsilon,
)


def of_one(observed: Observed) -> list[Finding]:
    """The checks of a single replay, causes before what they may bring about."""
    return [check(observed) for check in _OF_ONE]


def examined(replay: Replay, canaries: Canaries) -> tuple[Observed, list[Finding]]:
    """All checks of a point: of one replay, without a person's data, in another order of people.

    Parameters
    ----------
    replay : Replay
    canaries : Canaries
        Not everybody.

    Returns
    -------
    Observed
        The replay of the run's people as they are.
    list of Finding
        Neighbours first: what follows somebody's data brings about nothing else.

    Raises
    ------
    ConfigError
        If everybody is a canary.
    """
    others = {*replay.population.keys} - {*canaries.keys, *canaries.spread}
    if not others:
        raise ConfigError(f"{len(canaries.keys)} canaries: expected fewer than there are people")
    person, people_ = min(others), replay.population
    observed = replay.run(canaries)
    without = replay.run(canaries, Without(people_, person))
    reordered = replay.run(canaries, Reordered(people_))
    found = [
        neighbours.others_unchanged(observed, without, person),
        neighbours.place_in_log(observed, reordered),
        neighbours.public_fields(observed, without),
    ]
    return observed, [*found, *of_one(observed)]


def cause(findings: Sequence[Finding]) -> str | None:
    """The name of the first that is violated: what explains the others, if there are any."""
    return next((each.name for each in findings if each.verdict == "violated"), None)
