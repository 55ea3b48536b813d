"""DpEvents as plain JSON and back; kinds that are not listed here are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from dp_accounting import (
    ComposedDpEvent,
    DpEvent,
    GaussianDpEvent,
    NonPrivateDpEvent,
    NoOpDpEvent,
    PoissonSampledDpEvent,
    SelfComposedDpEvent,
)

from shared.errors import ConfigError


@dataclass(frozen=True)
class SkellamDpEvent(DpEvent):  # type: ignore[misc]  # dp_accounting: untyped
    """A sum of whole numbers was released with Skellam noise; `dp_accounting` has no such event.

    Parameters
    ----------
    variance : float
        > 0, of the noise in each coordinate of the sum: of all shares together, and only of those
        that the adversary neither knows nor could have left out. In squared steps of the grid.
    l2_sensitivity, l1_sensitivity : float
        How far one unit, added or removed, can move the sum, in steps of the grid and after
        rounding: l1 >= l2 > 0.
    """

    variance: float
    l2_sensitivity: float
    l1_sensitivity: float


def event_to_json(event: DpEvent) -> dict[str, Any]:
    """The event as nested plain values.

    Raises
    ------
    ConfigError
        For a kind of event that a ledger does not record.
    """
    # By exact type: a subclass may mean something else.
    if type(event) is NonPrivateDpEvent:
        return {"kind": "non_private"}
    if type(event) is NoOpDpEvent:
        return {"kind": "no_op"}
    if type(event) is GaussianDpEvent:
        return {"kind": "gaussian", "noise_multiplier": float(event.noise_multiplier)}
    if type(event) is SkellamDpEvent:
        numbers = {name: float(value) for name, value in asdict(event).items()}
        return {"kind": "skellam", **numbers}
    if type(event) is PoissonSampledDpEvent:
        return {
            "kind": "poisson_sampled",
            "sampling_probability": float(event.sampling_probability),
            "event": event_to_json(event.event),
        }
    if type(event) is SelfComposedDpEvent:
        inner = event_to_json(event.event)
        return {"kind": "self_composed", "count": int(event.count), "event": inner}
    if type(event) is ComposedDpEvent:
        return {"kind": "composed", "events": [event_to_json(part) for part in event.events]}
    raise ConfigError(f"{event}: a ledger does not record this kind of event")


def event_from_json(tree: Any) -> DpEvent:
    """The event that `event_to_json` wrote.

    Raises
    ------
    ConfigError
        For an unknown kind, or a field that is missing, superfluous or of another type.
    """
    try:
        fields = dict(tree)
        event = _READERS[fields.pop("kind")](fields)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise ConfigError(f"event {str(tree)[:200]}: not one that a ledger records") from None
    if fields:
        raise ConfigError(f"event {str(tree)[:200]}: unknown field {next(iter(fields))!r}")
    return event


def _number(fields: dict[str, Any], name: str, kind: type) -> Any:
    value = fields.pop(name)
    if type(value) is not kind:
        raise TypeError(name)
    return value


_READERS: dict[str, Callable[[dict[str, Any]], DpEvent]] = {
    "non_private": lambda fields: NonPrivateDpEvent(),
    "no_op": lambda fields: NoOpDpEvent(),
    "gaussian": lambda fields: GaussianDpEvent(_number(fields, "noise_multiplier", float)),
    "skellam": lambda fields: SkellamDpEvent(
        _number(fields, "variance", float),
        _number(fields, "l2_sensitivity", float),
        _number(fields, "l1_sensitivity", float),
    ),
    "poisson_sampled": lambda fields: PoissonSampledDpEvent(
        _number(fields, "sampling_probability", float), event_from_json(fields.pop("event"))
    ),
    "self_composed": lambda fields: SelfComposedDpEvent(
        event_from_json(fields.pop("event")), _number(fields, "count", int)
    ),
    "composed": lambda fields: ComposedDpEvent(
        [event_from_json(part) for part in _number(fields, "events", list)]
    ),
}
