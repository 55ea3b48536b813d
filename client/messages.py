"""Flower messages as a client sees them: requests parsed, replies built. Imports no torch.

A request carries the records `arrays` (the global adapter) and `config`; a reply to `evaluate`
carries ranks, every other one an addable `Update`. Every reply names the round and the policy that
it is about; one that declines says a word and holds nothing else. A grid that runs many clients may
answer a request that says `merge` with the sum of several clients and name them in `contributors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
    MetricRecord,
    RecordDict,
)

from shared.canonical import policy_digest
from shared.errors import Declined, ProtocolError
from shared.request import Answer, Letter, Request
from shared.secagg.ring import Ring
from shared.update import Update


def parse(message: Message) -> Request:
    """Read a request.

    Raises
    ------
    ProtocolError
        If a record or field is missing.
    """
    fields = message.content.config_records.get("config")
    if fields is None:
        raise ProtocolError("request without 'config'; server and client differ in version")
    record = message.content.array_records.get("arrays")
    arrays = {} if record is None else {name: array.numpy() for name, array in record.items()}
    return Request.read(message.metadata.message_type, fields, arrays)


def reply(message: Message, answer: Answer, contributors: Sequence[int]) -> Message:
    """Answer for the named nodes: an update that sums them, their ranks, or a stage's letter."""
    if isinstance(answer, Update):
        return update_reply(message, answer, contributors)
    if isinstance(answer, Letter):
        fields = ConfigRecord({"letter": answer.content, **_about(message, contributors)})
        return Message(RecordDict({"config": fields}), reply_to=message)
    return ranks_reply(message, answer.sampled, answer.full, contributors)


def _about(request: Message, contributors: Sequence[int]) -> dict[str, int | str | list[int]]:
    """Whose a reply is, and to what."""
    fields = request.content.config_records["config"]
    return {
        "contributors": list(contributors),
        "round": int(cast(int, fields["round"])),
        "policy": policy_digest(str(fields["policy"])),
    }


def update_reply(request: Message, update: Update, contributors: Sequence[int]) -> Message:
    """Answer with an update that sums the named nodes; one in a ring takes its bits and no more."""
    ring = Ring(update.ring) if update.ring else None
    vector = np.ascontiguousarray(update.vector)
    if ring:
        vector = np.frombuffer(ring.pack(vector), np.uint8)
    content = RecordDict(
        {
            "update": ArrayRecord({"vector": Array(vector)}),
            "metrics": MetricRecord(
                {
                    "weight": float(update.weight),
                    "norm": float(update.norm),
                    "ring": update.ring,
                    "bits": float(update.bits),
                }
            ),
            "config": ConfigRecord({"schema": update.schema, **_about(request, contributors)}),
        }
    )
    return Message(content, reply_to=request)


def ranks_reply(
    request: Message, sampled: Sequence[int], full: Sequence[int], contributors: Sequence[int]
) -> Message:
    """Answer with the ranks of held-out items: for an evaluator only, never under a guarantee."""
    content = RecordDict(
        {
            "metrics": MetricRecord({"sampled": list(sampled), "full": list(full)}),
            "config": ConfigRecord({**_about(request, contributors)}),
        }
    )
    return Message(content, reply_to=request)


def declined_reply(request: Message, why: Declined, contributor: int) -> Message:
    """Answer that the device does not take part, in the one word that leaves it."""
    fields = ConfigRecord({"declined": why.word, **_about(request, [contributor])})
    return Message(RecordDict({"config": fields}), reply_to=request)
