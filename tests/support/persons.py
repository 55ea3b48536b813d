"""A person's device as its relay sees it: agreement, caps, records, and a clock that tests set."""

from datetime import UTC, datetime, timedelta

from client.device.agreement import CAPS, PARTICIPATION, Agreement
from client.device.clock import Days
from shared.privacy.ledger.budget import records
from shared.privacy.ledger.ledger import Ledger
from tests.support.asking import asked
from tests.support.privacy.policies import agreed, operator

USERS, SCHEMA = 40, "s"
START = datetime(2026, 11, 22, 20, tzinfo=UTC)


# What an owner writes who allows about all that tests ask for, but no run that promises nothing.
LENIENT = {
    "epsilon": "1000.0",
    "unit": '"example"',
    "rounds_per_day": '"inf"',
    "sums": "false",
}


def owners(text="", delta=1e-3):
    """A caps.toml with these lines, lenient in all that they leave out."""
    given = {line.partition("=")[0].strip() for line in text.splitlines()}
    others = [f"{name} = {value}" for name, value in (LENIENT | {"delta": delta}).items()]
    others = [line for line in others if line.partition(" ")[0] not in given]
    return "\n".join([text, *others, ""])


class Clock:
    """A clock that tests set."""

    def __init__(self):
        self.time = START

    def __call__(self):
        return self.time

    def on(self, **time):
        self.time += timedelta(**time)


class Person:
    """A device as its relay sees it, of a lenient owner."""

    def __init__(self, state, clock, key=None):
        self.state = state
        self.gate = Agreement(state, key or operator(), Days(state, clock))
        if not (state / CAPS).exists():
            self.caps("")

    def asked(self, config, round_number=1, text=None, release="update", **changes):
        fields = {"users": USERS, "schema": SCHEMA} | changes
        schema = fields.pop("schema")  # the device's own
        text = agreed(config, USERS, SCHEMA, start=START) if text is None else text
        request = asked(config, release, round_number, policy=text, **fields)
        with self.gate.admitted(request, schema):
            pass

    def asked_every_round(self, config):
        for number in range(1, config.federation.rounds + 1):
            self.asked(config, number)

    def caps(self, text):
        self.state.mkdir(parents=True, exist_ok=True)
        (self.state / CAPS).write_text(owners(text))

    @property
    def rounds(self):
        kept = [Ledger.open(file) for file in records(self.state / PARTICIPATION)]
        return [entry.round for ledger in kept for entry in ledger.entries]
