"""What is searched, on what, and what one trial found."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.config import ExperimentConfig
from shared.config.presets import override
from shared.errors import ConfigError
from simulations.tune.space import Varied

METRICS = ("ndcg@10", "hr@10", "mrr", "full_ndcg@10", "full_hr@10", "full_mrr")
METRICS_SHARE = 0.1
"""Of each private trial's budget, for the figure that it is compared by; settings may give one."""


@dataclass(frozen=True)
class Search:
    """What is searched, on what, by what.

    Attributes
    ----------
    tree : mapping
        Nested settings that every trial changes some of.
    space : tuple of Varied
    epsilon : float
        Of every trial's point.
    seeds : tuple of int
        A trial's figure is the mean over these.
    metric : str
        One of `METRICS`, on validation items, the larger the better.
    seed : int
        Of what is tried next.
    public : bool
        Whether it is stated that the log is public, or other people's than the settings are for.
    private : bool
        Whether every trial is a run on these people, counted with all others in one budget: then
        `epsilon` is what all trials cost together, and they are compared by released figures.
    """

    tree: Mapping[str, Any]
    space: tuple[Varied, ...]
    epsilon: float
    seeds: tuple[int, ...]
    metric: str
    seed: int
    public: bool
    private: bool = False

    def settings(self, values: Mapping[str, Any]) -> ExperimentConfig:
        """Of an experiment with these values; a `ConfigError` if they do not go together."""
        tree = copy.deepcopy(dict(self.tree))
        flags = {**values, "sweep.epsilons": [self.epsilon], "sweep.seeds": list(self.seeds)}
        if self.private:
            flags["sweep.references"] = []
            if not tree.get("privacy", {}).get("metrics_share"):
                flags["privacy.metrics_share"] = METRICS_SHARE
        return override(tree, flags)


@dataclass(frozen=True)
class Tried:
    """One trial.

    Attributes
    ----------
    number : int
        From 1; 0 are the settings as they stand.
    values : mapping
        By setting.
    value, error : float
        The metric on validation items and its standard error over people; NaN where it failed.
    why : str
        Why it failed; empty where it did not.
    """

    number: int
    values: Mapping[str, Any]
    value: float
    error: float
    why: str = ""


def refuse_private(search: Search) -> None:
    """Refuse a search on people's data that nobody states to be public, nor pays for.

    Every trial's rounds are released as they go: devices get each round's adapter. So all trials
    are seen, and K of them cost what K runs cost, composed: `simulations.tune.private`. Bounds for
    random stopping (Liu and Talwar 2019; Papernot and Steinke 2022) are smaller because all trials
    but the best stay hidden, which is not so here.

    Raises
    ------
    ConfigError
    """
    spec = search.settings({}).data.spec
    if spec != "world" and not search.public and not search.private:
        raise ConfigError(
            f"data.spec = {spec}: a search on people's data is a release for every trial, since "
            "devices get each round's adapter. Count all of them in one budget: --private; or "
            "search on world, or on a log that is public or other people's and say so: --public"
        )


def told(value: Any) -> str:
    """A setting's value in few digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
