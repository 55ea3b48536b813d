"""Flower messages as a client sees them: requests parsed, replies built. Imports no torch.

A request carries the records `arrays` (the global adapter) and `config`; a reply to `train` or
`query.histogram` carries an addable `Update`. Every reply names the round and the policy that it is
about; one that declines says why and holds nothing else. A grid that runs many clients may answer a
request that says `merge` with the sum of several clients and name them in `contributors`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)

from shared.canonical import policy_digest
from shared.config import ExperimentConfig, from_dict, settings_hash
from shared.errors import Declined, ProtocolError
from shared.request import Request
from shared.update import Update

_RELEASES = {
    MessageType.TRAIN: "update",
    MessageType.EVALUATE: "ranks",
    "query.histogram": "histogram",
    "query.metrics": "metrics",
}


def parse(message: Message) -> Request:
    """Read a request.

    Raises
    ------
    ProtocolError
        If a record or field is missing.
    """
    try:
        fields = message.content.config_records["config"]
        record = message.content.array_records.get("arrays")
        config, settings = _settings(str(fields["settings"]))
        return Request(
            release=_RELEASES.get(message.metadata.message_type, message.metadata.message_type),
            arrays={} if record is None else {name: a.numpy() for name, a in record.items()},
            round_number=int(cast(int, fields["round"])),
            users=int(cast(int, fields["users"])),
            phase="test" if fields["phase"] == "test" else "validation",
            config=config,
            settings=settings,
            policy=str(fields["policy"]),
            schema=str(fields["schema"]),
            merge=bool(fields["merge"]),
            clip=float(cast(float, fields["clip"])),
        )
    except KeyError as error:
        raise ProtocolError(
            f"request without {error}; server and client differ in version"
        ) from None


@lru_cache(maxsize=64)
def _settings(text: str) -> tuple[ExperimentConfig, str]:
    config = from_dict(json.loads(text), source="the server's settings")
    return config, settings_hash(config)


def _about(request: Message, contributors: Sequence[int]) -> dict[str, int | str | list[int]]:
    """Whose a reply is, and to what."""
    fields = request.content.config_records["config"]
    return {
        "contributors": list(contributors),
        "round": int(cast(int, fields["round"])),
        "policy": policy_digest(str(fields["policy"])),
    }


def update_reply(request: Message, update: Update, contributors: Sequence[int]) -> Message:
    """Answer with an update that sums the named nodes."""
    content = RecordDict(
        {
            "update": ArrayRecord({"vector": Array(np.ascontiguousarray(update.vector))}),
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
    """Answer that the device does not take part, in the words it may say."""
    fields = ConfigRecord({"declined": str(why), **_about(request, [contributor])})
    return Message(RecordDict({"config": fields}), reply_to=request)
