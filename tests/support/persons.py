"""A person's device as its relay sees it: agreement, caps, records, and a clock that tests set."""

from datetime import UTC, datetime, timedelta

from client.device.agreement import CAPS, PARTICIPATION, Agreement
from client.device.clock import Days
from shared.privacy.ledger.ledger import Ledger
from tests.support.asking import asked
from tests.support.privacy.policies import agreed, operator

USERS, SCHEMA = 40, "s"
START = datetime(2026, 11, 22, 20, tzinfo=UTC)


class Clock:
    """A clock that tests set."""

    def __init__(self):
        self.time = START

    def __call__(self):
        return self.time

    def on(self, **time):
        self.time += timedelta(**time)


class Person:
    """A device as its relay sees it."""

    def __init__(self, state, clock, key=None):
        self.state = state
        self.gate = Agreement(state, key or operator(), Days(state, clock))

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
        (self.state / CAPS).write_text(text)

    @property
    def rounds(self):
        file = self.state / PARTICIPATION
        return [entry.round for entry in Ledger.open(file).entries] if file.exists() else []
