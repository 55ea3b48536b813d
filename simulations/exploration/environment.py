"""One person of the online world, as a Gymnasium environment: for agents of others.

An episode is one person over the days of the course. `reset` and `step` are Gymnasium's whether it
is installed or not; with it (`pip install gymnasium`) the class is a `gymnasium.Env` with spaces,
which `gymnasium.utils.env_checker.check_env` accepts.

    observation   float32 [1 + 2 d]: share of the days that are over; the decayed mean of the public
                  vectors of what was clicked; the same of what was shown
    action        int [slate]: an item for each place. A place with an item that may not be shown,
                  or stands above already, stays empty
    reward        clicks
    terminated    the person has left for good; truncated: the days are over
    info          `open`: bool [items], what may be shown; `expected`: the clicks to be expected of
                  the best slate by the truth, which no agent may learn from
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError
from simulations.exploration.days import public_vectors
from simulations.exploration.settings import OnlineConfig
from simulations.world.crowd import EMPTY, Crowd
from simulations.world.world import World

try:
    import gymnasium

    _Base: Any = gymnasium.Env
except ModuleNotFoundError:
    gymnasium = None
    _Base = object

_KEEP = 0.9  # of a decayed mean, a day later


class PersonEnv(_Base):  # type: ignore[misc]  # Gymnasium's where it is installed
    """See the module.

    Parameters
    ----------
    config : OnlineConfig
        Its first seed is the world's.

    Attributes
    ----------
    items : float32 [items, d]
        Public vectors.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (as Gymnasium has it)
    render_mode = None

    def __init__(self, config: OnlineConfig) -> None:
        self._config = config
        self._world = World(config.users, config.items, config.seeds[0])
        table = public_vectors(self._world.catalogue, config.backbone, config.components)
        self.items = table[:, : config.components].astype(np.float32)
        self._crowd: Crowd | None = None
        self._means = np.zeros((2, self.items.shape[1]), dtype=np.float32)
        if gymnasium is not None:
            width = 1 + self._means.size
            self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32)
            self.action_space = gymnasium.spaces.MultiDiscrete([config.items] * config.slate)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """The next person: `options["user"]`, or one that is drawn.

        Parameters
        ----------
        seed : int, optional
            Of who is drawn and of all that they answer; given once, it counts for the resets
            that follow too.
        """
        if gymnasium is not None:
            super().reset(seed=seed)
        if seed is not None or not hasattr(self, "_rng"):
            self._rng = np.random.default_rng(seed)
        drawn = int(self._rng.integers(len(self._world)))
        user = int((options or {}).get("user", drawn))
        self._crowd = Crowd(self._world, self._config.course, (user,))
        self._crowd.reset(int(self._rng.integers(2**31)))
        self._means[:] = 0
        return self._observed()

    def step(
        self, action: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One day.

        Raises
        ------
        ConfigError
            Before `reset`, or for an action of another shape or with items that there are not.
        """
        crowd = self._crowd
        if crowd is None:
            raise ConfigError("step before reset; call reset first")
        asked = np.asarray(action, dtype=np.int64)
        if (
            asked.shape != (self._config.slate,)
            or not ((asked >= 0) & (asked < self._config.items)).all()
        ):
            raise ConfigError(
                f"action {asked.tolist()}: expected {self._config.slate} items from 0 to "
                f"{self._config.items - 1}"
            )
        slate, open_items = asked.copy(), crowd.open_items[0]
        for place, item in enumerate(asked.tolist()):
            if not open_items[item] or item in slate[:place]:
                slate[place] = EMPTY
        clicks = crowd.step(slate[None]).clicks[0]
        for row, chosen in enumerate((slate[clicks], slate[slate != EMPTY])):
            mean = self.items[chosen].mean(0) if len(chosen) else 0.0
            self._means[row] = _KEEP * self._means[row] + (1 - _KEEP) * mean
        gone, over = not bool(crowd.present[0]), crowd.day >= self._config.days
        observed, info = self._observed()
        return observed, float(clicks.sum()), gone, over and not gone, info

    def _observed(self) -> tuple[NDArray[np.float32], dict[str, Any]]:
        if self._crowd is None:
            raise ConfigError("nothing to observe before reset; call reset first")
        share = np.array([self._crowd.day / self._config.days], dtype=np.float32)
        info = {"open": self._crowd.open_items[0], "expected": float(self._crowd.best()[0])}
        return np.concatenate([share, self._means.reshape(-1)]), info
