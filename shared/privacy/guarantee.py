"""Neighbouring relations: which two data sets a guarantee compares."""

from __future__ import annotations

from typing import Literal, cast, get_args

from shared.errors import ConfigError

Relation = Literal["add_remove", "replace_one"]
"""`add_remove`: one unit more or less. `replace_one`: one unit's data swapped for any other's."""


def check_relation(relation: str) -> Relation:
    """The relation, if it is a known one.

    Raises
    ------
    ConfigError
        For any other word.
    """
    for known in get_args(Relation):
        if relation == known:
            return cast(Relation, known)
    raise ConfigError(f"relation = {relation!r}: expected one of {', '.join(get_args(Relation))}")


USER_CENTRAL = (
    "anyone who sees every released adapter and the settings, but not which users were sampled; "
    "the server itself is trusted with exact sums"
)
USER_SCHEDULED = (
    "anyone who sees every released adapter, the settings and who took part in which round, but "
    "not what that person's updates added (the schedule is the same with and without them); the "
    "server itself is trusted with exact sums"
)
EXAMPLE_CENTRAL = (
    "anyone who sees every released adapter, the settings and which users were sampled, but not "
    "which of their examples; the server itself is trusted with exact sums"
)
EXAMPLE_LOCAL = (
    "the server, as long as it sends the agreed settings, and anyone who sees every message of the "
    "device and the settings, but not which of its examples were sampled"
)
USER_DISTRIBUTED = (
    "the server and anyone who sees what it sees: every sum, every released adapter, the settings "
    "and who takes part when, as long as at least {} are honest and add their noise and single "
    "messages reach the server in sums only; hidden is what a person contributed, not that their "
    "device took part"
)
