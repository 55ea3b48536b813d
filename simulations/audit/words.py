"""What each check asks, and what an audit cannot see and does not say, in words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CANNOT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "simulation": (
            "Whether real devices run this code, and draw noise from the operating system.",
            "What was read while the run went on, by whoever had its machine.",
            "A simulation's noise follows from its settings: its adapters are not for release.",
        ),
        "deployment": (
            "What single devices sent: secure aggregation keeps it from the operator too. The code "
            "was run again on made-up people.",
            "Whether devices kept to their clip, and their own noise where they add it: each one's "
            "owner audits the device's folder.",
            "Whether the server ran this code: its operator answers for that.",
        ),
        "device": (
            "What other devices sent, how many took part, and the noise that was added to sums.",
            "What the operator's ledger says: whoever has the run's folder audits that.",
        ),
        "adapter": (
            "What was spent: the ledger is in the run's folder, and this file says so of itself.",
            "Clips, noise, sampling, and whose data it was made of.",
        ),
        "foreign": (
            "Whether the files are what happened: nobody sealed them.",
            "What is not in the files: each question that needed more says so.",
        ),
    }
)
"""What whoever holds no more than this cannot check."""

OWN = "The key of this audit is the one that sealed the run: whoever ran it audited it."
"""Where nobody else looked."""

LIMITS = (
    "A lower bound below the claim is no proof of the claim: attacks may be weak.",
    "Mistakes that no check asks about are not seen. What is asked: docs/audit.md.",
    "Of correct code each check says that it is violated with a chance of one in ten thousand at "
    "most, by the test that docs/audit-replay.md names for it.",
    "Its figures about people are computed from their data without noise: they are the auditor's, "
    "and not for release.",
)

_QUESTIONS: Mapping[str, str] = MappingProxyType(
    {
        "claims, ledgers and files": "Do the files agree with each other and with what is claimed?",
        "points not covered": "Does everything in this folder come with a promise?",
        "promise": "What is promised?",
        "replay": "Can it be run again?",
        "reproduced": "Do these settings give this adapter?",
        "turns": "Does everyone take part as rarely as promised?",
        "clip": "Is what one person adds limited?",
        "raw release": "Is nothing released without its noise?",
        "noise scale": "Is there as much noise as claimed?",
        "noise for": "Is there as much noise as claimed?",
        "noise after": "Is there as much noise as claimed?",
        "noise fresh": "Is noise drawn anew for every release?",
        "noise shape": "Has the noise its claimed shape?",
        "noise of each device": "Has every message its own noise?",
        "noise of devices": "Has every message its own noise?",
        "weights": "Does everyone count once?",
        "sampling": "Is who takes part drawn as is claimed?",
        "ledger": "Is every release on the ledger?",
        "epsilon": "Does the ledger keep to the promise?",
        "epsilon, any": "Do guesses about whose data are in stay below the claim?",
        "epsilon, Gaussian": "Do guesses assuming Gaussian noise stay below?",
        "epsilon, estimated": "Where does epsilon seem to be?",
        "others unchanged": "Is what others send the same without one person's data?",
        "place in the log": "Is what people send the same in another order?",
        "public fields": "Do files tell nothing unnoised of anyone?",
        "control: noise off": "Would this audit have seen missing noise?",
        "control: held out": "Does this audit find nobody who was not there?",
        "membership": "Do guesses about real people stay below the claim?",
        "reconstruction": "Can somebody's items be read from this?",
        "attacks": "Could the attacks be made?",
        "own record": "Is this device's own record whole?",
        "cap": "Was no more spent than the owner allows?",
        "agreement": "Was no more recorded than was agreed to?",
        "release": "Is the release signed, and as it was signed?",
        "generator of noise": "Can nobody take its noise off?",
        "nothing beside": "Does the file hold nothing else?",
    }
)


def question(name: str) -> str:
    """What a finding of a name answers; the name itself where nothing is known of it.

    Examples
    --------
    >>> question("clip of each layer")
    'Is what one person adds limited?'
    """
    known = [each for each in _QUESTIONS if name.startswith(each)]
    return _QUESTIONS[max(known, key=len)] if known else name
