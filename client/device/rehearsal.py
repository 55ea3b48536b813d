"""What a device would answer to a policy, by the device's own gate on a copy of its state.

It is asked for all that a run can still ask of one device, as of the round after the last on
record: the histogram first, an update in every round (as far apart and as often as was promised),
metrics after the rounds that are measured.
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
from shared.privacy.accounting.steps import Step, steps_of
from shared.privacy.contribution.units import quantile_rule
from shared.privacy.ledger.budget import record_of, records
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.policy.caps import Caps, load_caps, write_safe_caps
from shared.privacy.policy.issue import promises
from shared.privacy.policy.signed import Policy, Promise, load_policy
from shared.request import Request
from shared.run_files import RunFolder


@dataclass(frozen=True)
class Answer:
    """To one request: in words, and whether the device takes part."""

    accepted: bool
    words: str


def _at_its_word(policy: Policy) -> tuple[Promise, ...]:
    """What a policy says that it promises, where nothing of it can be recomputed.

    Raises
    ------
    ConfigError
        For a cost that no settings give: of a kind that no accountant covers, or of a whole person
        as if nobody knew that the device takes part.
    """
    for promise in policy.promises:
        for release in promise.releases:
            steps = steps_of(release.cost)
            sampled = any(isinstance(at, Step) and at.sampling_probability < 1 for at in steps)
            if promise.guarantee.unit == "user" and sampled:
                raise ConfigError(
                    f"policy: event of {release.kind}: sampled, and whoever asks this device knows "
                    "that it takes part: no settings give that"
                )
    return policy.promises


def is_run(folder: Path) -> bool:
    """Whether it is a run's folder, and holds nothing of a device."""
    own = any((folder / name).exists() for name in (CAPS, AGREED))
    own = own or any(records(folder / name) for name in (LEDGER, PARTICIPATION))
    return not own and RunFolder(folder).results.is_file()


def no_state(folder: Path) -> ConfigError:
    """What to say of a path that is no device's state folder."""
    there = "is a file" if folder.exists() else "there is no such folder"
    there = "is a run's folder" if is_run(folder) else there
    return ConfigError(f"{folder}: {there}; give a device's state folder")


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
        self._state: Path | None = None
        self._text = text
        self._policy = policy
        self._given = settings is not None
        self._settings = settings or ExperimentConfig()
        self._start = self._time = now()
        promised = () if settings else _at_its_word(policy)
        derive = promises if settings else lambda config, users: promised
        rule = quantile_rule(self._settings)
        self._clip = rule.start if rule else 0.0
        self._gate = Agreement(folder, operator, Days(folder, self._clock), derive)

    def copy(self, state: Path | None, caps: Path | None) -> None:
        """Take over a device's records, and caps that replace its own.

        Raises
        ------
        ConfigError
            If one cannot be read.
        """
        wanted = [(caps, CAPS)] if caps else []
        ledgers: list[str] = []
        if state is not None:
            if not state.is_dir() or is_run(state):
                raise no_state(state)
            ledgers += [
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
            if name in ledgers:
                Ledger.recover(source, repair=False)
            if name == AGREED:
                load_policy(source, None)
            if name == CLOCK:
                Days(source.parent).time()
        write_safe_caps(self._folder / CAPS)  # as the device would

        self._state = state

    def _of_the_owner(self, words: str) -> str:
        """What the copy is called is nobody's business, and its files are gone by then."""
        return words.replace(str(self._folder), str(self._state or "the state folder"))

    @property
    def caps(self) -> Caps:
        """The caps that the answers are given under."""
        return load_caps(self._folder / CAPS)

    def answers(self, rounds: int, a_day: int | None) -> Iterator[Answer]:
        """Answers to all requests of the run's next rounds, up to a refusal, which has all reasons.

        None where nothing more can be asked.

        Parameters
        ----------
        rounds : int
            >= 1, from the next in which an update can be asked; of them only the run's own.
        a_day : int or None
            How many requests the server makes a day; None: all of them today.
        """
        policy = self._policy
        for count, (kind, number) in enumerate(self._requests(rounds)):
            if a_day:
                self._time = self._start + timedelta(days=count // a_day)
            words = (policy.users, policy.settings, self._text)
            request = Request(kind, self._settings, *words, round_number=number, clip=self._clip)
            try:
                with self._gate.admitted(request, policy.schema):
                    pass
            except Declined as why:
                found = dict.fromkeys([str(why), *self._gate.refusals(request, policy.schema)])
                for each in found:
                    yield Answer(False, self._of_the_owner(each))
                return
            name = {"histogram": "histogram", "metrics": f"metrics of round {number}"}.get(
                kind, f"round {number}"
            )
            yield Answer(True, f"{name}: takes part{self._spent(kind, number)}")

    def _requests(self, rounds: int) -> Iterator[tuple[str, int]]:
        """Kind and round of all that a device can be asked: a server asks no more than this."""
        policy, taken = self._policy, self._taken()
        most = {one.kind: one.times for promise in policy.promises for one in promise.releases}
        apart = max((at.separation for p in policy.promises if (at := p.of("update"))), default=0)
        last = max((number for each in taken.values() for number in each), default=0)
        due = max(last + 1, max(taken.get("update", ()), default=last + 1 - apart) + apart)

        def may(kind: str, number: int) -> bool:
            """A server asks for each kind as often as promised at most, and once a round."""
            rounds = taken.setdefault(kind, set())
            if len(rounds) >= most.get(kind, 0) or number in rounds:
                return False
            rounds.add(number)
            return True

        if not last and may("histogram", 0):
            yield "histogram", 0
        for number in range(max(last, 1), min(due + rounds - 1, policy.rounds) + 1):
            if number >= due and may("update", number):
                due = number + max(apart, 1)
                yield "update", number
            if self._measured(number, most.get("metrics", 0)) and may("metrics", number):
                yield "metrics", number

    def _taken(self) -> dict[str, set[int]]:
        """Rounds of this run that are on record by kind, towards whichever promise."""
        found: dict[str, set[int]] = {}
        for name in (LEDGER, PARTICIPATION):
            file = record_of(self._folder / name, self._policy.settings)
            for entry in Ledger.recover(file).entries if file.exists() else ():
                found.setdefault(entry.release, set()).add(entry.round)
        return found

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
