"""What a device would answer to a policy, by the device's own gate on a copy of its state.

It is asked for all that a run can still ask of one device, as of the round after the last on
record: histogram and moments first, an update in every round (as far apart and as often as was
promised), metrics after the rounds that are measured.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from client.device.agreement import AGREED, CAPS, LEDGER, PARTICIPATION, Agreement
from client.device.clock import FILE as CLOCK
from client.device.clock import Days, now
from client.secagg.identity import IDENTITY
from shared.config import ExperimentConfig
from shared.errors import ConfigError, Declined
from shared.files import read_file
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


def _at_its_word(policy: Policy) -> Callable[[ExperimentConfig, int], tuple[Promise, ...]]:
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
    return lambda config, users: policy.promises


def state_files(folder: Path) -> list[str]:
    """Names of what a device keeps in its state folder, as far as it is there.

    Raises
    ------
    ConfigError
        If nothing of it is: a device makes its folder itself, and none was at work in this one.
    """
    ledgers = [each.name for kind in (LEDGER, PARTICIPATION) for each in records(folder / kind)]
    found = [name for name in (CAPS, AGREED, CLOCK) if os.path.lexists(folder / name)]
    if found or ledgers or os.path.lexists(folder / IDENTITY):  # which tells of nothing else
        return [*found, *ledgers]
    if not folder.is_dir():
        there = "is a file" if folder.exists() else "there is no such folder"
    elif RunFolder(folder).results.is_file():
        there = "is a run's folder"
    else:
        there = f"holds nothing of a device (no {CAPS}, {AGREED}, {CLOCK}, and no record)"
    raise ConfigError(f"{folder}: {there}; give a device's state folder")


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

    Attributes
    ----------
    caps_file : Path or None
        Where the owner wrote the caps; None where nobody did, and the safe ones hold.
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
        self.caps_file: Path | None = None
        self._text = text
        self._policy = policy
        self._given = settings is not None
        self._settings = settings or ExperimentConfig()
        self._start = self._time = now()
        derive = promises if settings else _at_its_word(policy)
        self._gate = Agreement(folder, operator, Days(folder, self._clock), derive)

    def copy(self, state: Path | None, caps: Path | None) -> None:
        """Take over a device's records, and caps that replace its own.

        Raises
        ------
        ConfigError
            If one cannot be read.
        """
        wanted = [] if state is None else [(state / name, name) for name in state_files(state)]
        wanted += [(caps, CAPS)] if caps else []
        for source, name in wanted:
            try:
                (self._folder / name).write_bytes(read_file(source))
            except OSError as error:
                raise ConfigError(f"{source}: cannot be read ({error.strerror})") from None
            if name == CAPS:
                load_caps(source)  # a mistake is one of the owner's file, not of the copy
                self.caps_file = source
            elif name == AGREED:
                load_policy(source, None)
            elif name == CLOCK:
                Days(source.parent).time()
            else:
                Ledger.recover(source, repair=False)
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
            rule = quantile_rule(self._settings)
            clip = rule.start if rule else 0.0  # any other in its range is answered alike
            request = Request(kind, self._settings, *words, round_number=number, clip=clip)
            try:
                with self._gate.admitted(request, policy.schema):
                    pass
            except Declined as why:
                found = dict.fromkeys([str(why), *self._gate.refusals(request, policy.schema)])
                for each in found:
                    yield Answer(False, self._of_the_owner(each))
                return
            name = f"round {number}" if kind == "update" else kind
            name += f" of round {number}" if kind == "metrics" else ""
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

        for kind in ("histogram", "moments"):
            if not last and may(kind, 0):
                yield kind, 0
        first = max(last, min(policy.rounds, 1))  # without rounds, what is measured is of round 0
        for number in range(first, min(due + rounds - 1, policy.rounds) + 1):
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
