"""Every error Starling raises on purpose.

    StarlingError               exit code 2 unless stated
    ├── ConfigError             a setting is unknown, out of range or contradicts another
    ├── DataError               an interaction log or catalogue breaks a rule
    ├── ModelError              a backbone is missing, altered or unsupported
    ├── EngineError             the machinery under a run failed; --resume continues
    ├── ProtocolError           a message is of another schema, round or size, or not finite
    │   ├── Declined            a device does not take part, and tells the server a word
    │   └── SecureAggregationError  one side of secure aggregation ends; nothing was opened
    │       ├── MalformedMessage    of another length or kind, or not written the one way there is
    │       ├── StaleMessage        of another session, list of adverts or cohort
    │       ├── OutOfOrder          a stage that was not next, or a second time
    │       ├── ForgedSignature     a signature or key that is not its owner's
    │       ├── UnknownIdentity     a device that nobody vouches for
    │       ├── InconsistentSets    who takes part is told in two ways, or without the device
    │       ├── SpoiledEnvelope     shares that are missing, or were not sealed for the device
    │       ├── IsolatedDevices     dropped devices could cut off some of the others
    │       ├── TooFewDevices       fewer than a sum must hold, or than must agree
    │       └── SpoiledShares       a secret that its shares do not give
    └── PrivacyError            exit code 3: a guarantee does not hold
        ├── BudgetExceeded      a release would spend more than allowed (refused: nothing released)
        └── LedgerError         a ledger was altered, or claims and ledger disagree

A message is one line: what was wrong (name and value), where, what is accepted, what to do.
"""

import difflib
import re
from collections.abc import Iterable

NO_BUDGET = "0 means that nothing may be learned; give more than 0, or inf for no privacy"
"""What to say of an epsilon of 0."""


class StarlingError(Exception):
    """Base of all errors that are reported in one line, without a traceback."""

    exit_code = 2


class ConfigError(StarlingError, ValueError):
    """A setting is unknown, out of range or contradicts another."""


class DataError(StarlingError, ValueError):
    """An interaction log or catalogue breaks a rule; names file, row and rule."""


class ModelError(StarlingError):
    """A backbone is missing, altered or unsupported."""


class EngineError(StarlingError):
    """What a run is computed on failed: a worker died, or did not start. `--resume` continues."""

    exit_code = 1


class ProtocolError(StarlingError, ValueError):
    """A message is of another schema, round or size, or holds numbers that are not finite."""


DECLINED = ("policy", "owner")
"""What a device that declines tells the server: that what was sent is not what it agreed to or may
be asked for, or that the rest is its owner's business: caps, records, a budget."""


class Declined(ProtocolError):
    """A device does not take part in a round.

    Parameters
    ----------
    message : str
        Why, in words: for the device's owner alone.
    word : str
        One of `DECLINED`: all of it that leaves the device.
    """

    def __init__(self, message: str, word: str = "owner") -> None:
        super().__init__(message)
        self.word = word


class SecureAggregationError(ProtocolError):
    """A participant or an aggregator ends its part in a secure aggregation; nothing was opened."""


class MalformedMessage(SecureAggregationError):
    """A message is of another length or kind, or not written in the one way that there is."""


class StaleMessage(SecureAggregationError):
    """A message belongs to another session, list of adverts or device."""


class OutOfOrder(SecureAggregationError):
    """A stage was not next, or is asked for a second time."""


class ForgedSignature(SecureAggregationError):
    """A signature or a key is not its owner's."""


class UnknownIdentity(SecureAggregationError):
    """Nobody vouches for the identity of a device."""


class InconsistentSets(SecureAggregationError):
    """Who takes part is told in two ways, or without the device that is asked."""


class SpoiledEnvelope(SecureAggregationError):
    """A neighbour's shares are missing, or were not sealed for the device."""


class IsolatedDevices(SecureAggregationError):
    """With those that are said to have dropped, devices in league could cut off some others."""


class TooFewDevices(SecureAggregationError):
    """Fewer devices than a sum must hold, or than must agree on it."""


class SpoiledShares(SecureAggregationError):
    """Shares do not give the secret that its owner committed to."""


class PrivacyError(StarlingError):
    """A privacy guarantee does not hold."""

    exit_code = 3


class BudgetExceeded(PrivacyError):
    """A release would spend more than the budget allows; it was refused before it happened."""


class LedgerError(PrivacyError):
    """A ledger was altered, or what a run claims disagrees with its ledger."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a message about a word that nobody knows; empty if nothing is near.

    Examples
    --------
    >>> nearest("federation.round", ["federation.rounds", "federation.ranks"])
    '; did you mean federation.rounds?'
    """
    by_lower = {each.lower(): each for each in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.75)
    return f"; did you mean {by_lower[found[0]]}?" if found else ""


def nearest_of(told: str, value: object) -> str:
    """The same where a message lists what is accepted: `Input should be 'a', 'b' or 'c'`."""
    listed = re.findall(r"'([^']*)'", told) if isinstance(value, str) else []
    return nearest(str(value), listed)


def last_line(text: str) -> str:
    """The last line of an error's text: those of Flower and Ray end with the error itself."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
