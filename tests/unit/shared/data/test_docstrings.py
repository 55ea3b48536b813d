"""The examples in the docstrings are right."""

import doctest
from types import ModuleType

import numpy as np
import pytest

from shared.data import catalogue, identifiers, population, split, windows
from shared.data.readers import columns, times


@pytest.mark.parametrize(
    "module", [catalogue, identifiers, population, split, windows, columns, times]
)
def test_examples(module: ModuleType) -> None:
    result = doctest.testmod(module, extraglobs={"np": np})
    assert result.attempted > 0
    assert result.failed == 0
