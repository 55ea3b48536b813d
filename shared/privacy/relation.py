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
