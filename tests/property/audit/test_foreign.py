"""Folders from anyone: every one is a run that has an audit, or an error of one line."""

import json
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from shared.errors import DataError
from simulations.audit.foreign import audited, read
from tests.support.auditing import foreign

quick = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2**53, 2**70, 1e-300, 1e300, 0.5, 1e-9, 1e9]),
    st.integers(-3, 200),
    st.floats(allow_nan=True),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """A run that is right, of few numbers: its tree, and the bytes of one of its rounds."""
    folder = tmp_path_factory.mktemp("right")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("CLIENTS", 12), ("CANARIES", 6), ("DIM", 60), ("ROUNDS", 2)):
            patch.setattr(foreign, name, value)
        foreign.write(folder, claim__clients=12, claim__rounds=2, released_rounds=2)
    tree = json.loads((folder / "federated-run.json").read_text())
    return tree, {each.name: each.read_bytes() for each in folder.glob("*.safetensors")}


def tried(folder, tree, files):
    """Whether it is a run."""
    (folder / "federated-run.json").write_text(json.dumps(tree))
    for name, content in files.items():
        (folder / name).write_bytes(content)
    try:
        run = read(folder)
    except DataError as error:
        told = str(error)
    else:
        told = ""
    if told:
        assert "\n" not in told
        assert told.startswith(str(folder))
        return False
    assert {each.verdict for each in audited(run)} <= {"holds", "violated", "not shown"}
    return True


def places(tree, path=()):
    """Paths to everything in nested lists and objects."""
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for name, value in inside:
        yield (*path, name)
        if isinstance(value, dict | list):
            yield from places(value, (*path, name))


@quick
@given(data=st.data())
def test_a_field_that_is_something_else(tmp_path, right, data):
    tree, files = deepcopy(right[0]), right[1]
    for _ in range(data.draw(st.integers(1, 2))):
        *inside, last = data.draw(st.sampled_from([*places(tree)]))
        at = tree
        for name in inside:
            at = at[name]
        if data.draw(st.booleans()):
            at[last] = data.draw(st.one_of(VALUES, NUMBERS))
        else:
            del at[last]
    tried(tmp_path, tree, files)


@quick
@given(data=st.data())
def test_a_file_that_is_damaged(tmp_path, right, data):
    tree, files = right[0], dict(right[1])
    name = data.draw(st.sampled_from(sorted(files)))
    content = bytearray(files[name])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.one_of(st.integers(0, 400), st.integers(0, len(content) - 1)))
        content[place % len(content)] = data.draw(st.integers(0, 255))
    files[name] = bytes(content[: data.draw(st.integers(0, 4 * len(content)))])
    tried(tmp_path, tree, files)


@quick
@given(data=st.data())
def test_numbers_that_are_anything(tmp_path, right, data):
    """Of the shapes that the format asks for."""
    tree, files = right
    number = st.sampled_from([0.0, 1.0, -1.0, 1e-30, 1e30, -1e30, 1e-38, 0.25, 2e30, np.nan])
    some = np.array(data.draw(st.lists(number, min_size=4, max_size=4)))
    draw = np.random.default_rng(data.draw(st.integers(0, 99)))
    rows, kind = draw.choice(some, (12, 60)), data.draw(st.sampled_from([np.float32, np.float64]))
    arrays = {"sent": rows, "clipped": rows / 1e3, "released": draw.choice(some, 60)}
    kept = data.draw(st.sets(st.sampled_from([*arrays])))
    content = save({name: arrays[name].astype(kind) for name in kept})
    tried(tmp_path, tree, files | {"round-1.safetensors": content})


def test_the_run_that_was_changed_is_one(tmp_path, right):
    assert tried(tmp_path, *right)
