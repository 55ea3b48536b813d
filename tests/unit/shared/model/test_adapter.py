"""The adapter as named tensors and as one vector: nothing is lost between them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from shared.errors import ProtocolError
from shared.model.adapter import AdapterSchema, current, install

NAMES = st.text("abcdefgh._", min_size=1, max_size=8)
SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)
SCHEMAS = st.dictionaries(NAMES, SHAPES, min_size=1, max_size=5)


def arrays_of(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()}


@given(SCHEMAS)
def test_vectors_and_arrays_round_trip(shapes):
    arrays = arrays_of(shapes)
    schema = AdapterSchema.of_arrays(arrays)
    vector = schema.join(arrays)
    assert vector.shape == (schema.dim,)
    assert vector.dtype == np.float64
    back = schema.split(vector)
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == np.float32
        np.testing.assert_array_equal(back[name], array)
        np.testing.assert_array_equal(vector[schema.slice_of(name)], array.ravel())
    assert schema.from_arrays(arrays).tolist() == vector.tolist()


@given(SCHEMAS, st.lists(st.integers(1, 3), max_size=2))
def test_tensors_round_trip_under_leading_dimensions(shapes, lead):
    schema = AdapterSchema.of_arrays(arrays_of(shapes))
    vector = torch.arange(float(np.prod(lead, dtype=int) * schema.dim)).reshape(*lead, schema.dim)
    tensors = schema.unflatten(vector)
    for name, shape in zip(schema.names, schema.shapes, strict=True):
        assert tensors[name].shape == (*lead, *shape)
    assert torch.equal(schema.flatten(tensors), vector)


@given(SCHEMAS, SCHEMAS)
def test_the_digest_tells_schemas_apart(one, two):
    a, b = (AdapterSchema.of_arrays(arrays_of(shapes)) for shapes in (one, two))
    assert (a.digest == b.digest) == (one == two)


def test_the_digest_does_not_depend_on_order_or_values():
    one = arrays_of({"a": (2,), "b": (3, 1)})
    two = dict(reversed(arrays_of({"a": (2,), "b": (3, 1)}, seed=1).items()))
    assert AdapterSchema.of_arrays(one).digest == AdapterSchema.of_arrays(two).digest


BAD = {
    "one too few": (lambda a: {"a": a["a"]}, "'b'"),
    "one too many": (lambda a: a | {"c": a["a"]}, "'c'"),
    "transposed": (lambda a: a | {"b": a["b"].T}, r"'b': shape \(1, 3\), expected \(3, 1\)"),
    "NaN": (lambda a: a | {"b": a["b"] * np.nan}, "'b': holds numbers"),
    "infinity": (lambda a: a | {"a": a["a"] + np.inf}, "'a': holds numbers"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=list(BAD))
def test_arrays_of_another_schema_are_refused(change, message):
    arrays = arrays_of({"a": (2,), "b": (3, 1)})
    schema = AdapterSchema.of_arrays(arrays)
    with pytest.raises(ProtocolError, match=message):
        schema.from_arrays(change(arrays))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(2, 3, bias=False)
        self.two = nn.Linear(2, 3, bias=False)
        self.two.weight = self.one.weight
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def test_tied_parameters_count_once_and_frozen_ones_not_at_all():
    schema = AdapterSchema.of(Tied())
    assert schema.names == ("one.weight",)
    assert schema.dim == 6


def test_installed_is_what_is_current():
    model = Tied()
    schema = AdapterSchema.of(model)
    vector = torch.arange(6.0)
    install(model, schema, vector)
    assert torch.equal(current(model, schema), vector)
    assert torch.equal(model.two.weight, vector.reshape(3, 2))
    taken = current(model, schema)
    taken += 1
    assert torch.equal(current(model, schema), vector)  # a copy
