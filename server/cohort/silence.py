"""When a run stops because its rounds hold nothing: many answers were expected, and none came.

One round in which nobody answers is like one whose cohort is empty: recorded, noised, gone on from.
Whether it was one switched-off device must not be seen in what the run does. A stretch of rounds in
which at least `EXPECTED` answers were to come is another matter: devices are gone, or decline what
they are sent, and the run would end on pure noise.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.errors import EngineError

ROUNDS = 3  # at least, of a stretch
EXPECTED = 10.0  # answers at least, by the expected cohort: what was drawn stays secret


class Silence:
    """The stretch of rounds since the last one that held something, in this process.

    Parameters
    ----------
    rounds : int
        Of the whole run.
    """

    def __init__(self, rounds: int) -> None:
        self._last = rounds
        self._heard = 0  # rounds of this process
        self._rounds = 0
        self._expected = 0.0
        self._said = set[str]()

    def heard(self, number: int, expected: float, answers: int, said: Iterable[str]) -> None:
        """Take note of a round that is recorded, noised and kept.

        Parameters
        ----------
        number : int
            >= 1.
        expected : float
            Cohort.
        answers : int
            That counted.
        said : iterable of str
            Why others did not, a fixed word each; how many is not told.

        Raises
        ------
        EngineError
            If a whole stretch held nothing, or all rounds of this process up to the run's end did.
        """
        self._heard += 1
        if answers:
            self._rounds, self._expected, self._said = 0, 0.0, set()
            return
        self._rounds += 1
        self._expected += expected
        self._said.update(said)
        whole = number == self._last and self._rounds == self._heard
        if self._expected >= EXPECTED and (self._rounds >= ROUNDS or whole):
            raise EngineError(self._told(number))

    def _told(self, number: int) -> str:
        first = number - self._rounds + 1
        more, why = number < self._last, ", ".join(sorted(self._said)) or "nobody replied"
        return (
            f"rounds {first} to {number}: no update counted, of about {self._expected:g} expected "
            f"({why}): what was released of them is nobody's: noise, or nothing. "
            "Look into the devices' own logs, have devices connected, and "
            + (f"start the run again: it goes on with round {number + 1}" if more else "start anew")
        )
