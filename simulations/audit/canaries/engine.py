"""The cohort engine, in whose population some are canaries: before any clip and any noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from client.training.gradients import PerExample
from shared.config import ExperimentConfig
from shared.data.population import history_of
from shared.data.windows import Windows
from shared.errors import ConfigError
from shared.model.adapter import Part
from shared.privacy.contribution.bound import bounded
from shared.privacy.contribution.histogram import example_histogram, user_histogram
from shared.privacy.contribution.moments import Basis, user_moments
from shared.privacy.contribution.units import example_clip, expected_batch
from shared.request import Request
from shared.update import Update
from simulations.audit.canaries.drawn import Canaries, WithCanaries, by_window
from simulations.engine.cohort import CohortEngine

Rows = npt.NDArray[np.float32]

_FAR = 1e3  # how far beyond any clip a canary reaches
_AT_ONCE = 64  # windows whose gradients are computed together


class AuditedEngine(CohortEngine):
    """The cohort engine with canaries."""

    canaries: Canaries

    def hold(self, canaries: Canaries, config: ExperimentConfig) -> None:
        """Begin with these, under the settings of a point.

        Raises
        ------
        ConfigError
            If two windows that are canaries cannot be told apart.
        """
        self.canaries, self._config_of = canaries, config
        self._examples_are = by_window(config)
        self._places = {key: place for place, key in enumerate(canaries.keys)}
        honest = self.population
        out = frozenset(
            key
            for key, there in zip(canaries.keys, canaries.included, strict=True)
            if not (there or self._examples_are)
        )
        self.mixed = WithCanaries(honest, canaries, out)
        self._all_in = WithCanaries(honest, canaries, frozenset())
        if canaries.natural or self._examples_are:
            self.population = self.mixed
        self._windows = dict[bytes, int]()
        if self._examples_are and canaries.keys:
            cut = canaries.cut(config)
            self._windows = {row.tobytes(): place for place, row in enumerate(cut.targets)}
            if len(self._windows) < len(cut):
                raise ConfigError(
                    f"model.max_length = {config.model.max_length}: two canaries are the same "
                    "window; give longer ones"
                )

    def deltas(
        self,
        request: Request,
        users: Sequence[int],
        state: Path | None = None,
        part: Part | None = None,
    ) -> Iterator[tuple[list[int], Tensor]]:
        """As of every engine, and of canaries the worst there are."""
        for members, deltas in super().deltas(request, users, state, part):
            worst = not (self.canaries.natural or self._examples_are)
            yield members, self._replaced(members, deltas) if worst else deltas

    def directions(self, request: Request) -> Rows:
        """What each canary adds to a sum if it is in, and asked: float32 [m, dim].

        Empty where that is the worst there is: as far as the clip, along its own coordinate.
        """
        items, kind = len(self.population.catalogue), request.release
        if not self.canaries.keys or kind == "metrics":
            return np.zeros((0, 0), dtype=np.float32)
        if kind == "update":
            return self._own_updates(request) if self.canaries.natural else _NONE
        if kind == "histogram" and self._examples_are:
            cut = self.canaries.cut(self._config_of)
            pairs = zip(cut.inputs[:, None], cut.targets[:, None], strict=True)
            return np.stack([example_histogram(Windows(*pair), items) for pair in pairs])
        return np.stack([self._share(request, key, self._all_in) for key in self.canaries.keys])

    def meant(self, request: Request, key: int, directions: Rows) -> Rows:
        """What somebody's message in a ring is made of, float32 [dim]: of updates a canary's.

        Parameters
        ----------
        request : Request
        key : int
        directions : float32 [m, dim]
            Of this request.
        """
        if request.release != "update":
            return self._share(request, key, self.mixed)
        if key in self._places and directions.size:
            there: Rows = directions[self._places[key]] * self.canaries.included[self._places[key]]
            return there
        far = self._far(key, self.part(request).schema.dim)
        return bounded(torch.from_numpy(far), request.config, request.clip)[0].numpy()

    def _share(self, request: Request, key: int, people: WithCanaries) -> Rows:
        """Somebody's share of a statistic, by person."""
        history = history_of(people, key)
        if request.release == "histogram":
            return user_histogram(history, len(people.catalogue))
        return user_moments(history, Basis.of(request.arrays))

    def _own_updates(self, request: Request) -> Rows:
        """Of canaries that are all in, from where the round starts."""
        part, config = self.part(request), request.config
        if not self._examples_are:
            return self._of_people(request, part)
        cut, gradients = self.canaries.cut(config), super()._per_example(part)
        clip, rate = example_clip(config), config.train.local_lr / expected_batch(config)
        rows = []
        for start in range(0, len(cut), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            inputs, targets = (
                torch.from_numpy(of[some])[:, None].to(self.device)
                for of in (cut.inputs, cut.targets)
            )
            theta = part.start.expand(len(inputs), -1)
            rows.append(clip(gradients(theta, inputs, targets)[:, 0] * -rate).cpu().numpy())
        return np.concatenate(rows)

    def _of_people(self, request: Request, part: Part) -> Rows:
        config, keys = request.config, self.canaries.keys
        found = np.zeros((len(keys), part.schema.dim), dtype=np.float32)
        population, self.population = self.population, self._all_in
        try:
            for members, free in self._whole(keys, part, request.round_number, config, None):
                rows = bounded(free, config, request.clip)[0].cpu().numpy()
                found[[self._places[key] for key in members]] = rows
        finally:
            self.population = population
        return found

    def _per_example(self, part: Part) -> PerExample:
        plain = super()._per_example(part)

        def marked(theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
            gradients = plain(theta, inputs, targets)
            rows = np.ascontiguousarray(targets.cpu().numpy())
            for at in np.ndindex(rows.shape[:2]):
                if (place := self._windows.get(rows[at].tobytes())) is not None:
                    self._mark(gradients, at, place)
            return gradients

        return marked

    def _mark(self, gradients: Tensor, at: tuple[int, ...], place: int) -> None:
        """The gradient of a window that is a canary: none if it is out, the worst if it is in."""
        if not self.canaries.included[place]:
            gradients[at] = 0.0
        elif not self.canaries.natural:
            gradients[at] = 0.0
            gradients[(*at, int(self.canaries.coordinates[place]))] = -_FAR

    def _histogram(self, *asked: Any) -> tuple[list[int], Update]:
        members, update = self._of_mixed(super()._histogram, *asked)
        if self._examples_are:
            out = np.flatnonzero(~self.canaries.included)
            gone = [place for place in out if self.canaries.keys[place] in members]
            if gone:
                update.vector[:] -= self.directions(asked[0])[gone].sum(0)
        return members, update

    def _moments(self, *asked: Any) -> tuple[list[int], Update]:
        return self._of_mixed(super()._moments, *asked)

    def _of_mixed(self, answer: Any, *asked: Any) -> tuple[list[int], Update]:
        population, self.population = self.population, self.mixed
        try:
            found: tuple[list[int], Update] = answer(*asked)
            return found
        finally:
            self.population = population

    def _far(self, key: int, dim: int) -> Rows:
        """What a canary's own update is before any clip, float32 [dim]."""
        update = np.zeros(dim, dtype=np.float32)
        place = self._places.get(key)
        if place is None:
            update[:] = _FAR
        elif self.canaries.included[place]:
            update[self.canaries.coordinates[place]] = _FAR
        return update

    def _replaced(self, members: Sequence[int], deltas: Tensor) -> Tensor:
        mine = deltas.clone()
        for row, key in enumerate(members):
            if key in self._places or key in self.canaries.spread:
                mine[row] = torch.from_numpy(self._far(key, mine.shape[1])).to(mine)
        return mine


_NONE: Rows = np.zeros((0, 0), dtype=np.float32)
