"""Errors in the words of whoever calls a function: an argument has no dashes."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import StarlingError
from simulations.api.options import options

if "IPython" in sys.modules:  # in a notebook it warns that its own bars could be nicer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tqdm.auto  # noqa: F401

_FLAG = re.compile(r"(?<![\w-])(?:--([a-z]+(?:-[a-z]+)*)|-([a-z])\b)")


@contextmanager
def in_python() -> Iterator[None]:
    """Let an error name arguments where it would name flags: `micro_batch`, not `--micro-batch`."""
    try:
        yield
    except StarlingError as error:
        error.args = (_FLAG.sub(_name, str(error)),)
        raise


def _name(flag: re.Match[str]) -> str:
    """Of an argument; other words with dashes are commands that somebody is told to type."""
    name = (flag[1] or flag[2]).replace("-", "_")
    return name if name in options() or flag[2] else flag[0]
