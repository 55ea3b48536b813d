"""What a person allows: limits that belong to the owner of a device, whatever a server agrees to.

`caps.toml` in the device's state folder. A device that has none gets one with the text `SAFE`, and
a line that is left out counts as it stands there: a limit is lifted only by its owner's word, and
no word of an operator's moves one.
"""

from __future__ import annotations

import json
import math
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from shared.canonical import check_plain
from shared.errors import ConfigError, nearest, nearest_of
from shared.files import write_once
from shared.privacy.accounting.accountant import LEAST_DELTA
from shared.privacy.guarantee import Trust, Unit
from shared.privacy.policy.order import TRUSTS_LESS
from shared.privacy.policy.signed import Policy

_STRICT = ConfigDict(extra="forbid", strict=True)


def _cap(value: Any) -> Any:
    return math.inf if value == "inf" else value


def _count(value: Any) -> Any:
    value = _cap(value)
    if value != math.inf and (type(value) is not int or value < 0):
        raise ValueError('expected a whole number >= 0, or "inf"')
    return value


@dataclass(frozen=True, config=_STRICT)
class Caps:
    """The owner's limits; by default those of a device whose owner wrote none.

    Attributes
    ----------
    epsilon : float
        > 0: of all that this device took part in, under every policy together. Infinity sets no
        limit, and allows a policy that promises nothing. By default 8, the largest budget for which
        this project ships settings; the literature calls up to 10 a reasonable guarantee, and 1 a
        strong one.
    delta : float
        In [1e-14, 1), at which epsilon is counted, whatever a policy's own is; a policy with a
        larger one is refused. By default 1e-5: below one over the number of people for any
        population up to a hundred thousand.
    unit : {"user", "example"}
        `user` refuses a policy that hides single examples only, whose epsilon is not a person's.
    trust : {"central", "distributed", "local"}
        The most trusting placement of noise that is accepted.
    sums : bool
        Refuses a policy under which the server sees what this device alone contributes, without
        noise of its own: where no secure sum is made of it.
    rounds_per_day : int or infinity
        >= 0, by the date in UTC. By default 24: one an hour.
    pause : bool

    References
    ----------
    Ponomareva et al. How to DP-fy ML: A Practical Guide to Machine Learning with Differential
    Privacy. JAIR 77, 2023. https://arxiv.org/abs/2303.00654
    """

    epsilon: Annotated[float, BeforeValidator(_cap), Field(gt=0)] = 8.0
    delta: Annotated[float, Field(ge=LEAST_DELTA, lt=1)] = 1e-5
    unit: Unit = "user"
    trust: Trust = "central"
    sums: bool = True
    rounds_per_day: Annotated[float, BeforeValidator(_count)] = 24
    pause: bool = False

    def objections(self, policy: Policy) -> list[str]:
        """Why the owner would not take part under this policy at all, in words; empty if nothing.

        Under both units there are two promises about one message: one of them must hide the unit
        that is asked for, and that one must trust no more than the owner does.
        """
        found = ["its owner has paused it"] if self.pause else []
        promised = [promise.guarantee for promise in policy.promises]
        hiding = [one for one in promised if self.unit in ("example", one.unit)]
        if not hiding:
            found.append("the policy hides single examples only, its owner asks for unit = user")
        elif all(TRUSTS_LESS[one.trust] < TRUSTS_LESS[self.trust] for one in hiding):
            trusts = " or ".join(one.trust for one in hiding)
            found.append(f"the policy has trust = {trusts}, its owner asks for {self.trust}")
        if math.isfinite(self.epsilon) and any(math.isinf(one.budget) for one in promised):
            found.append(
                "the policy promises no privacy (epsilon = inf), and its owner did not allow that"
            )
        delta = max(one.delta for one in promised)
        if delta > self.delta:
            found.append(
                f"the policy's delta = {delta:g} is over its owner's cap of {self.delta:g}"
            )
        noised = any(one.trust == "local" for one in promised)
        if self.sums and not noised and any(one.in_clear for one in promised):
            found.append(
                "the policy lets the server see each device's own contributions, its owner asks "
                "for sums = true"
            )
        return found

    def in_words(self) -> str:
        """All limits in one line."""
        return (
            f"epsilon = {self.epsilon:g} at delta = {self.delta:g}, unit = {self.unit}, trust = "
            f"{self.trust}, sums = {str(self.sums).lower()}, rounds_per_day = "
            f"{self.rounds_per_day:g}, pause = {str(self.pause).lower()}"
        )


_ADAPTER = TypeAdapter(Caps)
_SAFE = Caps()
SAFE = f"""\
# What this device's owner allows. No server can change it; an edit counts from the next request on.
# This file was written because there was none. A line that is taken out counts as it stands here.

# The most that taking part may cost: all runs together, for as long as this folder is kept, without
# amplification by sampling. "inf" sets no limit, and also allows runs that promise nothing.
epsilon = {_SAFE.epsilon}
# At which that is counted. A run whose own delta is larger is refused.
delta = {_SAFE.delta}
# What must be hidden: user (all that is yours), or example (it is enough that any one window of it
# is; how much such an epsilon says about all that is yours is not counted).
unit = "{_SAFE.unit}"
# Whom to trust at most: central (the server adds the noise), distributed, or local (nobody).
trust = "{_SAFE.trust}"
# true: the server may see sums of many devices' contributions, or noised ones, and not yours alone.
sums = {str(_SAFE.sums).lower()}
# Requests answered a day, by the date in UTC. "inf" sets no limit.
rounds_per_day = {_SAFE.rounds_per_day}
# true: answer nothing.
pause = {str(_SAFE.pause).lower()}
"""


def load_caps(file: Path) -> Caps:
    """The caps in a file; the safe ones where there is no such name.

    Raises
    ------
    ConfigError
        If it cannot be read, naming the key: a cap with a typing error caps nothing. So does a name
        that leads to no file.
    """
    if not os.path.lexists(file):
        return Caps()
    if not file.is_file():  # a folder, a pipe, a link to what is not mounted
        raise ConfigError(f"{file}: leads to no file; make it one, or remove it for safe caps")
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
        check_plain(tree)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # also no UTF-8, or 5000 digits
        raise ConfigError(f"{file}: not a TOML file: {error}") from None
    try:
        return _ADAPTER.validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "unexpected_keyword_argument":
            known = ", ".join(Caps.__dataclass_fields__)
            near = nearest(key, Caps.__dataclass_fields__)
            raise ConfigError(f"{file}: unknown cap {key}; there are {known}{near}") from None
        why = first["msg"].removeprefix("Value error, ")
        if key == "epsilon" and first["input"] == 0:
            why = "0 allows nothing; pause = true says so, and inf sets no limit"
        why += nearest_of(why, first["input"])
        raise ConfigError(f"{file}: {key} = {first['input']!r}: {why}") from None


def write_safe_caps(file: Path) -> bool:
    """Write the safe caps where there is no such name; whether it did.

    Raises
    ------
    ConfigError
        If it cannot be written.
    """
    if os.path.lexists(file):
        return False
    try:
        return write_once(file, SAFE)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written ({error.strerror})") from None
