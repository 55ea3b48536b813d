"""What a device would answer to a policy, by the device's own gate on a copy of its state.

It is asked for all that a run can ask of one device: the histogram first, an update in every round
(as far apart as correlated noise needs them), metrics after the rounds that are measured.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from client.device.agreement import AGREED, CAPS, LEDGER, PARTICIPATION, Agreement
from client.device.clock import FILE as CLOCK
from client.device.clock import Days, now
from shared.config import ExperimentConfig
from shared.errors import ConfigError, Declined
from shared.privacy.ledger.budget import records
from shared.privacy.policy.caps import Caps, load_caps, write_safe_caps
from shared.privacy.policy.issue import promises
from shared.privacy.policy.signed import Policy
from shared.request import Request


@dataclass(frozen=True)
class Answer:
    """To one request: in words, and whether the device takes part."""

    accepted: bool
    words: str


class Rehearsal:
    """A device asked round after round under one policy.

    Parameters
    ----------
    folder : Path
        Empty, for the copy of the device's state.
    text : str
        The signed policy.
    policy : Policy
        The same, read.
    operator : str
        The key that the device's owner configured.
    settings : ExperimentConfig or None
        Of the point. Without them the policy is taken at its word for what they give.
    """

    def __init__(
        self,
        folder: Path,
        text: str,
        policy: Policy,
        operator: str,
        settings: ExperimentConfig | None,
    ) -> None:
        self._folder = folder
        self._text = text
        self._policy = policy
        self._given = settings is not None
        self._settings = settings or ExperimentConfig()
        self._start = self._time = now()
        derive = promises if settings else lambda config, users: policy.promises
        self._gate = Agreement(folder, operator, Days(folder, self._clock), derive)

    def copy(self, state: Path | None, caps: Path | None) -> None:
        """Take over a device's records, and caps that replace its own.

        Raises
        ------
        ConfigError
            If one cannot be read.
        """
        wanted = [(caps, CAPS)] if caps else []
        if state is not None:
            ledgers = [
                each.name for kind in (LEDGER, PARTICIPATION) for each in records(state / kind)
            ]
            names = (CAPS, AGREED, CLOCK, *ledgers)
            kept = [(state / name, name) for name in names if os.path.lexists(state / name)]
            wanted = kept + wanted
        for source, name in wanted:
            try:
                shutil.copyfile(source, self._folder / name)
            except OSError as error:
                raise ConfigError(f"{source}: cannot be read ({error.strerror})") from None
            if name == CAPS:
                load_caps(source)  # a mistake is one of the owner's file, not of the copy
        write_safe_caps(self._folder / CAPS)  # as the device would

    @property
    def caps(self) -> Caps:
        """The caps that the answers are given under."""
        return load_caps(self._folder / CAPS)

    def answers(self, rounds: int, a_day: int | None) -> Iterator[Answer]:
        """Answers to all requests of the run's first rounds, up to the first refusal.

        Parameters
        ----------
        rounds : int
        a_day : int or None
            How many requests the server makes a day; None: all of them today.
        """
        policy = self._policy
        for count, (kind, number) in enumerate(self._requests(rounds)):
            if a_day:
                self._time = self._start + timedelta(days=count // a_day)
            words = (policy.users, policy.settings, self._text)
            request = Request(kind, self._settings, *words, round_number=number)
            try:
                with self._gate.admitted(request, policy.schema):
                    pass
            except Declined as why:
                yield Answer(False, str(why))
                return
            name = {"histogram": "histogram", "metrics": f"metrics of round {number}"}.get(
                kind, f"round {number}"
            )
            yield Answer(True, f"{name}: takes part{self._spent(kind, number)}")

    def _requests(self, rounds: int) -> Iterator[tuple[str, int]]:
        """Kind and round of all that a device can be asked: a server asks no more than this."""
        promised = {one.kind: one for promise in self._policy.promises for one in promise.releases}
        if "histogram" in promised:
            yield "histogram", 0
        apart = max(promised["update"].separation, 1) if "update" in promised else 1
        for number in range(1, rounds + 1):
            if (number - 1) % apart == 0:
                yield "update", number
            if "metrics" in promised and self._measured(number, promised["metrics"].times):
                yield "metrics", number

    def _measured(self, number: int, times: int) -> bool:
        """Whether metrics follow a round; without the settings as evenly as so many can."""
        last = self._policy.rounds
        every = (last - 1) // (times - 1) if times > 1 else 0
        if self._given:
            every = self._settings.federation.metrics_every
        return number == last or (number < last and every > 0 and number % every == 0)

    def _clock(self) -> datetime:
        return self._time

    def _spent(self, kind: str, number: int) -> str:
        """What each promise has cost by then; the device's own noise is recorded here."""
        words = []
        for promise in self._policy.promises:
            release = promise.of(kind)
            if promise.guarantee.trust == "local" and release is not None:
                self._gate.record(promise, self._policy).append(number, kind, release.cost)
            epsilon, delta = self._gate.spent(promise)
            unit = promise.guarantee.unit
            words.append(f"{unit}-level epsilon {epsilon:.4g} at delta {delta:g}")
        return f"; so far {', '.join(words)}"
