"""Flower messages as a client sees them: requests parsed, replies built. Imports no torch.

A request carries the records `arrays` (the global adapter) and `config`; a reply to `train` or
`query.histogram` carries an addable `Update`. A grid that runs many clients may answer a request
that says `merge` with the sum of several clients and name them in `contributors`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from client.evaluate import Phase
from shared.config import ExperimentConfig, from_dict
from shared.errors import ProtocolError
from shared.model.arrays import Arrays
from shared.update import Update


@dataclass(frozen=True)
class Request:
    """One request of the server.

    Attributes
    ----------
    arrays : mapping of str to float32 array
        The global adapter; empty for a histogram.
    round_number : int
        >= 0; 0 is before the first round.
    users : int
        Size of the population, >= 1.
    phase : str
        Which held-out item is asked for; has no meaning outside `evaluate`.
    config : ExperimentConfig
        The settings of the point.
    schema : str
        Digest of the adapter's schema; empty for a histogram.
    merge : bool
        Whether sums over several clients are welcome.
    """

    arrays: Arrays
    round_number: int
    users: int
    phase: Phase
    config: ExperimentConfig
    schema: str
    merge: bool


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
        return Request(
            arrays={} if record is None else {name: a.numpy() for name, a in record.items()},
            round_number=int(cast(int, fields["round"])),
            users=int(cast(int, fields["users"])),
            phase="test" if fields["phase"] == "test" else "validation",
            config=_settings(str(fields["settings"])),
            schema=str(fields["schema"]),
            merge=bool(fields["merge"]),
        )
    except KeyError as error:
        raise ProtocolError(
            f"request without {error}; server and client differ in version"
        ) from None


@lru_cache(maxsize=64)
def _settings(text: str) -> ExperimentConfig:
    return from_dict(json.loads(text), source="the server's settings")


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
                }
            ),
            "config": ConfigRecord({"schema": update.schema, "contributors": list(contributors)}),
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
            "config": ConfigRecord({"contributors": list(contributors)}),
        }
    )
    return Message(content, reply_to=request)
