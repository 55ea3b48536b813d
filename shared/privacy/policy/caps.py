"""What a person allows: limits that belong to the owner of a device, whatever a server agrees to.

`caps.toml` in the device's state folder; every line may be left out:

    epsilon = 1.0         # the most that taking part may cost, without amplification by sampling;
                          # "inf" also allows runs that promise nothing
    delta = 1e-5          # at which that is counted; left out: the policy's own
    unit = "user"         # what must be hidden: user, or example (left out: either)
    trust = "central"     # whom to trust at most: central, distributed or local
    rounds_per_day = 4    # in UTC
    pause = false         # true: answer nothing
"""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from shared.errors import ConfigError
from shared.privacy.guarantee import Trust, Unit
from shared.privacy.policy.order import TRUSTS_LESS
from shared.privacy.policy.signed import Policy

_STRICT = ConfigDict(extra="forbid", strict=True)


def _cap(value: Any) -> Any:
    return math.inf if value == "inf" else value


@dataclass(frozen=True, config=_STRICT)
class Caps:
    """The owner's limits.

    Attributes
    ----------
    epsilon : float or None
        Of each promise that a policy makes, by what this device took part in; None sets no limit
        but refuses a policy that promises nothing, which infinity allows.
    delta : float or None
        In (0, 1), at which epsilon is counted; None: the promise's own.
    unit : {"user", "example"}
        `user` refuses a policy that hides single examples only.
    trust : {"central", "distributed", "local"}
        The most trusting placement of noise that is accepted.
    rounds_per_day : int or None
        >= 0, by the date in UTC.
    pause : bool
    """

    epsilon: Annotated[float, BeforeValidator(_cap), Field(gt=0)] | None = None
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None
    unit: Unit = "example"
    trust: Trust = "central"
    rounds_per_day: Annotated[int, Field(ge=0)] | None = None
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
        if self.epsilon is None and any(math.isinf(one.budget) for one in promised):
            found.append(
                "the policy promises no privacy (epsilon = inf), and its owner did not allow that"
            )
        return found


_ADAPTER = TypeAdapter(Caps)


def load_caps(file: Path) -> Caps:
    """The caps in a file; without one nothing is capped, and what promises nothing is refused.

    Raises
    ------
    ConfigError
        If it cannot be read, naming the key: a cap with a typing error caps nothing.
    """
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Caps()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not a TOML file: {error}") from None
    try:
        return _ADAPTER.validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "unexpected_keyword_argument":
            known = ", ".join(Caps.__dataclass_fields__)
            raise ConfigError(f"{file}: unknown cap {key}; there are {known}") from None
        raise ConfigError(f"{file}: {key} = {first['input']!r}: {first['msg']}") from None
