"""What an online run is of: people, days, policies, budgets, seeds."""

from __future__ import annotations

import hashlib
import math
import tomllib
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from client.serving.exploration.policies import parsed
from shared.canonical import canonical_json, finite
from shared.errors import ConfigError, nearest
from shared.files import read_file
from shared.privacy.accounting.accountant import check_resolved, default_delta
from shared.privacy.guarantee import USER_SCHEDULED, Guarantee
from simulations.world.crowd import Course

Count = Annotated[int, Field(ge=1)]
Part = Annotated[float, Field(ge=0, le=1)]


def _named(words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        parsed(word)
    return words


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class OnlineConfig:
    """Of `starling simulate --online`; each can stand in the TOML file of `--config`."""

    users: Count = 2000
    items: Annotated[int, Field(ge=20)] = 1000
    days: Annotated[int, Field(ge=1, le=3650)] = 30
    # places of a slate, and eta of (1 + p)^-eta, the chance that place p is looked at
    slate: Annotated[int, Field(ge=1, le=100)] = 5
    position_bias: Annotated[float, Field(ge=0, le=10)] = 0.5
    history: Annotated[int, Field(ge=0)] = 0  # items that everybody met before the first day
    arrivals: Annotated[float, Field(ge=0, lt=1)] = 0.2  # share of items that appear later
    # day, from 0, on which tastes turn and a share of the items exchange popularity; 0: never
    shift: Annotated[int, Field(ge=0)] = 15
    exchanged: Part = 0.5
    again: bool = True  # whether what was clicked may be shown again, as music or recipes are
    boredom: Annotated[float, Field(ge=0, le=10)] = 0.0  # of kinds that were shown a lot
    churn: Part = 0.0  # chance to leave for good after a slate without a click
    # NAME or NAME=STRENGTH (exploration.md)
    policies: Annotated[tuple[str, ...], AfterValidator(_named)] = (
        "greedy",
        "thompson=0.25",
        "linucb=0.5",
    )
    epsilons: tuple[float, ...] = (8.0, math.inf)  # lifetime budgets of a person
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 2, 3, 4)  # each a world of its own
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None  # unset: as in any run
    draws: Annotated[int, Field(ge=1, le=1000)] = 4  # M of Thompson sampling, for each person
    memory: Annotated[float, Field(gt=0, le=1)] = 0.97  # what a day leaves of what was learned
    components: Annotated[int, Field(ge=1, le=1000)] = 16  # of item vectors that tastes are in
    backbone: str = "minilm"  # encodes items

    @property
    def course(self) -> Course:
        """What happens over the days."""
        named = {each.name for each in fields(Course)}
        return Course(**{name: value for name, value in asdict(self).items() if name in named})

    def guarantee(self, epsilon: float) -> Guarantee:
        """What a point promises: everything that one person answers on all days."""
        delta = default_delta(self.users) if self.delta is None else self.delta
        return Guarantee("user", "zero_out", "central", USER_SCHEDULED, delta, 1, epsilon)

    def stated(self) -> dict[str, Any]:
        """As JSON has it; what `of` reads back."""
        found: dict[str, Any] = finite(asdict(self))
        return found

    def digest(self, policy: str, epsilon: float, seed: int) -> str:
        """SHA-256 of the settings of one point."""
        only = {"policies": [policy], "epsilons": [epsilon], "seeds": [seed]}
        text = canonical_json(finite(self.stated() | only))
        return hashlib.sha256(text.encode()).hexdigest()


def online_config(tree: dict[str, Any], source: str) -> OnlineConfig:
    """Settings of plain values.

    Raises
    ------
    ConfigError
        Naming what is wrong with which of them.
    """
    given = {name: _plain(value) for name, value in tree.items()}
    for name in given:
        known = [each.name for each in fields(OnlineConfig)]
        if name not in known:
            raise ConfigError(f"{source}: {name}: is no setting{nearest(name, known)}")
    try:
        made = OnlineConfig(**given)
    except ValidationError as error:
        about = error.errors()[0]
        name = ".".join(map(str, about["loc"]))
        told = about["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{source}: {name} = {str(about['input'])[:60]}: {told}") from None
    for name, values in (("policies", made.policies), ("epsilons", made.epsilons)):
        if not values or len(set(values)) < len(values):
            raise ConfigError(
                f"{source}: {name} = {list(values)}: expected at least one, once each"
            )
    if not made.seeds or len(set(made.seeds)) < len(made.seeds):
        raise ConfigError(f"{source}: seeds = {list(made.seeds)}: expected at least one, once each")
    for epsilon in made.epsilons:
        check_resolved(delta := made.guarantee(epsilon).delta, epsilon)
        if delta >= 1 / made.users:
            raise ConfigError(
                f"{source}: delta (--delta) = {delta:g}: expected below 1/{made.users}, one over "
                "the users; from there on, publishing one outright would be allowed"
            )
    return made


def read_online(file: Path) -> dict[str, Any]:
    """The plain values of a TOML file; a ConfigError if it is none."""
    try:
        return tomllib.loads(read_file(file).decode())
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigError(f"{file}: not TOML ({error})") from None


def _plain(value: Any) -> Any:
    """Lists as tuples, whole numbers as they are, `inf` as the number."""
    if isinstance(value, list):
        return tuple(math.inf if each == "inf" else each for each in value)
    return value
