"""What is promised: of which unit, against whom, how much. Said once, handed on whole."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

from shared.errors import ConfigError, nearest

Unit = Literal["user", "example"]
"""Whose presence is hidden: everything one person ever contributed, or one window of it."""

Trust = Literal["central", "distributed", "local"]
"""Who adds the noise: the server, all devices together, or every device to its own message."""

Relation = Literal["zero_out", "replace_one"]
"""Which two data sets are compared. `zero_out`: one unit's data replaced by nothing, where how many
people there are is public and stays the same; a sum moves by one clipping norm, so it costs what
adding or removing a unit does. `replace_one`: one unit's data swapped for any other's."""

_LONGEST = 2000  # letters: a policy or a ledger may come from anyone


@dataclass(frozen=True)
class Guarantee:
    """One promise, as plan, ledger and policy hold it and results state it.

    Parameters
    ----------
    unit : {"user", "example"}
        Whose presence is hidden.
    relation : {"zero_out", "replace_one"}
        Which two data sets are compared.
    trust : {"central", "distributed", "local"}
        Who adds the noise.
    adversary : str
        What whoever tries to learn about the unit sees, and what not; 1 to 2000 letters.
    delta : float
        In (0, 1).
    group : int
        >= 1: how many units epsilon covers together.
    budget : float
        Epsilon that all releases may cost together, > 0; infinity promises nothing.

    Raises
    ------
    ConfigError
        For a unit, relation or trust that is not known, or a value outside its range.
    """

    unit: Unit
    relation: Relation
    trust: Trust
    adversary: str
    delta: float
    group: int
    budget: float

    def __post_init__(self) -> None:
        check_relation(self.relation)
        for name, given, known in (("unit", self.unit, Unit), ("trust", self.trust, Trust)):
            if given not in get_args(known):
                expected = ", ".join(get_args(known))
                raise ConfigError(f"{name} = {given!r}: expected one of {expected}")
        if not 1 <= len(self.adversary) <= _LONGEST:
            raise ConfigError(
                f"adversary of {len(self.adversary)} letters: expected 1 to {_LONGEST}"
            )
        if not 0 < self.delta < 1:
            raise ConfigError(f"delta = {self.delta}: expected a number in (0, 1)")
        if self.group < 1:
            raise ConfigError(f"group = {self.group}: expected at least 1 unit")
        if not self.budget > 0:
            raise ConfigError(f"epsilon = {self.budget}: expected a budget > 0, or inf")

    @property
    def counted(self) -> tuple[float, Relation, int]:
        """Delta, relation and group: what accountants ask for beside a history, in their order."""
        return self.delta, self.relation, self.group

    def at(self, delta: float | None) -> Guarantee:
        """The same, counted at another delta; None leaves its own."""
        return self if delta is None else replace(self, delta=delta)

    def knowing_the_rounds(self) -> Guarantee:
        """What a device's record of its participations is held to, without a budget of its own.

        A person hidden by the server's noise is so from someone who does not know the cohort; the
        record is for one who does.
        """
        by_server = (self.unit, self.trust) == ("user", "central")
        trusted = self.adversary.partition("; ")[2]
        sees = USER_TAKING_PART.replace(_TRUSTED, trusted) if by_server else self.adversary
        return replace(self, adversary=sees, budget=math.inf)

    @property
    def in_clear(self) -> bool:
        """Whether the server sees each device's own contributions, without noise of their own."""
        return self.adversary.endswith(_TRUSTED)

    def stated(self) -> dict[str, str | float]:
        """As a point of `results.json` states it."""
        return {
            "epsilon_target": self.budget,
            "delta": self.delta,
            "unit": self.unit,
            "relation": self.relation,
            "group_size": self.group,
            "trust": self.trust,
            "adversary": self.adversary,
        }


def check_relation(relation: str) -> Relation:
    """The relation, if it is a known one.

    Raises
    ------
    ConfigError
        For any other word.
    """
    for known in get_args(Relation):
        if relation == known:
            return cast(Relation, known)
    known_ones = get_args(Relation)
    raise ConfigError(
        f"relation = {relation!r}: expected one of {', '.join(known_ones)}"
        f"{nearest(relation, known_ones)}"
    )


_TRUSTED = (
    "the server itself receives each device's own clipped contributions and must be trusted with "
    "them"
)
_SUMMED = (
    "the server itself learns, of real devices, by secure aggregation, exact sums over at least {} "
    "of them at a time, as long as no more than {:g} of a cohort are in league with it, and must "
    "be trusted with these and, where owners keep no roster, to make up no devices; the devices in "
    "a sum are told which they are"
)
_FIGURES = re.compile(
    re.escape(_SUMMED).replace(r"\{\}", r"(\d{1,9})").replace(r"\{:g\}", r"(0|0\.\d{1,9})")
)


def in_sums(adversary: str, fewest: int, colluding: float) -> str:
    """The same, where contributions reach the server in sums over so many devices at least.

    Parameters
    ----------
    adversary : str
    fewest : int
    colluding : float
        Share of a cohort that may be in league with the server, in [0, 1/2).
    """
    return adversary.replace(_TRUSTED, _SUMMED.format(fewest, colluding))


def seen_of_each(adversary: str) -> tuple[str, int, float]:
    """The words of one who sees each device's own contributions, and what sums keep from it.

    Returns
    -------
    words : str
        The same for sums of any size.
    fewest : int
        Devices in a sum at least; 1 where each one's own is seen, or none is.
    colluding : float
        As `in_sums`; 0 there.
    """
    found = _FIGURES.search(adversary)
    if found is None:
        return adversary, 1, 0.0
    return adversary.replace(found[0], _TRUSTED), int(found[1]), float(found[2])


USER_CENTRAL = (
    "anyone who sees every released adapter and the settings, but not which users were sampled; "
    f"{_TRUSTED}"
)
USER_SCHEDULED = (
    "anyone who sees every released adapter, the settings and who took part in which round, but "
    "not what that person's updates added (the schedule is the same with and without them); "
    f"{_TRUSTED}"
)
EXAMPLE_CENTRAL = (
    "anyone who sees every released adapter, the settings and which users were sampled, but not "
    f"which of their examples; {_TRUSTED}"
)
EXAMPLE_LOCAL = (
    "the server, as long as it sends the agreed settings, and anyone who sees every message of the "
    "device and the settings, but not which of its examples were sampled"
)
USER_TAKING_PART = (
    "anyone who sees every released adapter, the settings and in which rounds this device took "
    f"part; {_TRUSTED}"
)
USER_DISTRIBUTED = (
    "the server and anyone who sees what it sees: every sum, every released adapter, the settings "
    "and who takes part when, as long as at least {} are honest and add their noise and single "
    "messages reach the server in sums only; hidden is what a person contributed, not that their "
    "device took part"
)

HISTOGRAM_IN_CLEAR = (
    "a real device's histogram would name the person's items to the server in clear: it goes into "
    "a secure sum (federation.secure_aggregation = auto or on, with a linear rule), or has noise "
    "of the device (trust local)"
)
"""Why a real device gives no histogram under central trust."""
