"""Every reader of bytes in secure aggregation, with messages that it takes."""

from contextlib import suppress
from unittest.mock import patch

import numpy as np

from shared.errors import SecureAggregationError
from shared.secagg import roster as lists
from shared.secagg.aggregator import Aggregator
from shared.secagg.messages import Advert, Agreement, Delivery, Reveal, Shares
from shared.secagg.participant import Participant
from shared.secagg.session import Session
from tests.support.privacy.cohorts import STAGES, Cohort, identity, session

NODES = [3, 7, 8, 20]
ME = 7


def again(data, message):
    """A message that was taken has one form."""
    assert message.to_bytes() == data


class Parsers:
    """By name what reads bytes, or raises a `SecureAggregationError`; and samples."""

    def __init__(self):
        self.about = session(bits=12, dim=9)
        self.cohort = Cohort(self.about, NODES)
        self.saved = [self._save()]
        self.cohort.run("advertise")
        for stage in STAGES:
            self.cohort.step(stage)
            if stage != "reveal":
                self.saved.append(self._save())
        self.roster = self.cohort.aggregator._roster
        sent, replies = self.cohort.sent, self.cohort.replies
        me = self.roster.number_of(ME)
        others = [each for each in self.roster.holders(me) if each != me]
        self.samples = {
            "session": [self.about.to_bytes()],
            "advert": [replies["advertise"][ME]],
            "shares": [replies["share"][ME]],
            "delivery": [sent["mask"][ME]],
            "agreement": [replies["agree"][ME]],
            "shares of seeds": [replies["reveal"][ME]],
            "list of adverts": [sent["share"]],
            "list of adverts, any signature": [sent["share"]],
            "list of survivors": [sent["agree"]],
            "quorum": [sent["reveal"]],
            "packed elements": [self.about.ring.pack(replies["mask"][ME])],
            "saved participant": self.saved,
            "a participant's share": [sent["share"]],
            "a participant's mask": [sent["mask"][ME]],
            "a participant's agree": [sent["agree"]],
            "a participant's reveal": [sent["reveal"]],
            "an aggregator's replies": [replies["advertise"][ME], replies["share"][ME]],
        }
        self.readers = {
            "session": lambda data: again(data, Session.read(data)),
            "advert": lambda data: again(data, Advert.read(data)),
            "shares": lambda data: again(data, Shares.read(data, 3)),
            "delivery": lambda data: again(data, Delivery.read(data, 4, others)),
            "agreement": lambda data: again(data, Agreement.read(data)),
            "shares of seeds": lambda data: again(data, Reveal.read(data, 4)),
            "list of adverts": self._adverts,
            "list of adverts, any signature": self._unsigned,
            "list of survivors": self._survivors,
            "quorum": self._quorum,
            "packed elements": self._packed,
            "saved participant": self._saved,
            "a participant's share": lambda data: self._at(1).share(data),
            "a participant's mask": lambda data: self._at(2).mask(data, np.zeros(9, np.uint32)),
            "a participant's agree": lambda data: self._at(3).agree(data),
            "a participant's reveal": lambda data: self._at(4).reveal(data),
            "an aggregator's replies": self._replies,
        }

    def __call__(self, name, data):
        """Whether it took the data."""
        try:
            self.readers[name](data)
        except SecureAggregationError:
            return False
        return True

    def _save(self):
        return self.cohort.participants[ME].save()

    def _at(self, stage):
        return Participant.restore(self.saved[stage], identity(ME), self.cohort.trusted)

    def _adverts(self, data):
        found = lists.read_roster.__wrapped__(data, self.about)
        listed = {advert.node: advert for advert in found.adverts}
        assert lists.write_roster(listed, self.about) == data

    def _unsigned(self, data):
        with patch.object(Advert, "verify"):
            self._adverts(data)

    def _survivors(self, data):
        sets = lists.read_survivors.__wrapped__(self.roster, data)
        assert lists.write_survivors(self.roster, *sets) == data

    def _quorum(self, data):
        lists.check_quorum.__wrapped__(self.roster, self.cohort.sent["agree"], data)

    def _packed(self, data):
        elements = self.about.ring.unpack(data, 9)
        assert self.about.ring.holds(elements)
        assert self.about.ring.pack(elements) == data

    def _saved(self, data):
        device = Participant.restore(data, identity(ME), self.cohort.trusted)
        assert device.save() == data
        values = np.zeros(min(device.session.dim, 9), np.uint32)
        sent = self.cohort.sent
        for stage, *content in (
            ("advertise",),
            ("share", sent["share"]),
            ("mask", sent["mask"][ME], values),
            ("agree", sent["agree"]),
            ("reveal", sent["reveal"]),
        ):
            device = Participant.restore(data, identity(ME), self.cohort.trusted)
            with suppress(SecureAggregationError):
                getattr(device, stage)(*content)

    def _replies(self, data):
        server, replies = Aggregator(self.about), self.cohort.replies
        server.adverts(replies["advertise"] | {99: data})
        server.deliveries(replies["share"] | {NODES[0]: data})
