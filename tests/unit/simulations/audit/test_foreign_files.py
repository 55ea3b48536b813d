"""Folders of foreign runs that are not in the format: one line says what, and what is expected."""

import json
import os

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from shared.errors import DataError
from simulations.audit.foreign import audited, read
from simulations.audit.foreign.arrays import LARGEST
from tests.support.auditing import foreign

FILE = "federated-run.json"
LONG = {"round": 1, "members": ["a", "b"], "file": "a.safetensors"}


def written(folder, arrays=None, **changes):
    """A run of one round of two clients with four numbers, whose fields are changed."""
    changes = {"rounds": [LONG]} | changes
    tree = foreign.tree_of(**changes)
    (folder / FILE).write_text(json.dumps(tree))
    save_file(small() if arrays is None else arrays, folder / "a.safetensors")


def small(**arrays):
    made = {"clipped": np.zeros((2, 4)), "released": np.ones(4)} | arrays
    return {name: array for name, array in made.items() if array is not None}


CLAIMS = {
    "no object": ({"claim": []}, "claim = a list of 0: expected an object"),
    "an unknown format": ({"format": "federated-run/2"}, "expected federated-run/1"),
    "another unit": ({"claim__unit": "example"}, "claim.unit = 'example': expected one of user"),
    "an unknown relation": (
        {"claim__relation": "add_remove"},
        "expected one of zero_out, add_or_remove, replace_one; did you mean add_or_remove?",
    ),
    "no clipping norm": ({"claim__clipping_norm": None}, "claim.clipping_norm: missing; expected"),
    "a clipping norm of nothing": ({"claim__clipping_norm": 0}, "= 0: expected a number from"),
    "text for a number": ({"claim__clipping_norm": "1"}, "= '1': expected a number from"),
    "true for a number": ({"claim__clipping_norm": True}, "= True: expected a number from"),
    "two ways to say noise": (
        {"claim__noise": {"multiplier": 1, "deviation": 1, "of": "sum"}},
        "both multiplier and deviation, or neither; expected one of them",
    ),
    "noise of nobody knows what": ({"claim__noise": {"deviation": 1}}, "claim.noise.of: missing"),
    "less noise than can be counted": ({"claim__noise": {"multiplier": 1e-12}}, "or at least"),
    "negative noise": ({"claim__noise": {"multiplier": -1}}, "expected a number from 0 to"),
    "no client": ({"claim__clients": 0}, "expected a whole number from 1 to"),
    "half a client": ({"claim__clients": 2.5}, "claim.clients = 2.5: expected a whole number"),
    "an unknown sampling": ({"claim__sampling": {"kind": "some"}}, "everyone, poisson, fixed"),
    "a probability above 1": (
        {"claim__sampling": {"kind": "poisson", "probability": 1.5}},
        "claim.sampling.probability = 1.5: expected a number from 1e-09 to 1",
    ),
    "a cohort of more than all": (
        {"claim__sampling": {"kind": "fixed", "cohort": 121}},
        "claim.sampling.cohort = 121: expected a whole number from 1 to 120",
    ),
    "a probability of everyone": (
        {"claim__sampling": {"kind": "everyone", "probability": 0.5}},
        "claim.sampling.probability: unknown; expected kind",
    ),
    "no round": ({"claim__rounds": 0}, "claim.rounds = 0: expected a whole number from 1"),
    "weights by something": ({"claim__weights": "loss"}, "one of equal, examples"),
    "a delta of 1": ({"claim__delta": 1}, "claim.delta = 1: expected a number from"),
    "an epsilon of 0": ({"claim__epsilon": 0}, "claim.epsilon = 0: expected a number from"),
    "a misspelt claim": ({"claim__epsilom": 1}, "did you mean epsilon?"),
    "an unknown field": ({"colour": 1}, "colour: unknown; expected canaries, claim"),
    "a name that a terminal obeys": ({"name": "\x1b[2J"}, "expected text of 1 to 200 printable"),
    "an unknown release": ({"released": "delta"}, "one of sum, mean, model"),
    "a divisor of 0": ({"divisor": 0}, "divisor = 0: expected a number from"),
    "no rounds": ({"rounds": []}, "rounds = a list of 0: expected a list of 1 to"),
    "fewer clients than are named": ({"claim__clients": 1}, "at least the 2 who are named"),
    "a tensor twice": (
        {"tensors": [{"name": "w", "size": 2}, {"name": "w", "size": 2}]},
        "tensors[1].name = 'w': expected each tensor once",
    ),
    "tensors of another size": (
        {"tensors": [{"name": "w", "size": 5}]},
        "length of clipped = 4: expected 5, as elsewhere",
    ),
    "one canary": (
        {"canaries": {"clients": ["a"], "included": [True], "coordinates": [0]}},
        "expected two or more, in a run that has arrays",
    ),
    "canaries that share a coordinate": (
        {"canaries": {"clients": ["a", "b"], "included": [True, False], "coordinates": [1, 1]}},
        "expected each coordinate once",
    ),
    "a canary beyond the model": (
        {"canaries": {"clients": ["a", "b"], "included": [True, False], "coordinates": [0, 4]}},
        "canaries.coordinates[1] = 4: expected a whole number from 0 to 3",
    ),
    "a canary that is neither": (
        {"canaries": {"clients": ["a", "b"], "included": [True, 0], "coordinates": [0, 1]}},
        "canaries.included[1] = 0: expected true or false",
    ),
    "fewer bits than canaries": (
        {"canaries": {"clients": ["a", "b"], "included": [True], "coordinates": [0, 1]}},
        "canaries.included = a list of 1: expected a list of 2 times true or false",
    ),
}

ROUNDS = {
    "a round twice": ([LONG, LONG], "rounds[1].round = 1: expected a whole number from 2"),
    "a round 0": ([LONG | {"round": 0}], "rounds[0].round = 0: expected a whole number from 1"),
    "a member twice": ([LONG | {"members": ["a", "a"]}], "members[1] = 'a': expected each client"),
    "a member that is a number": (
        [LONG | {"members": [1, 2]}],
        "members[0] = 1: expected a client",
    ),
    "a member who was not asked": (
        [LONG | {"asked": ["a"]}],
        "members = 'b': expected only clients who were asked",
    ),
    "examples of another number": (
        [LONG | {"examples": [1]}],
        "examples = a list of 1: expected a list of 2 whole numbers",
    ),
    "no example": ([LONG | {"examples": [1, 0]}], "examples[1] = 0: expected a whole number"),
    "a file elsewhere": ([LONG | {"file": "../a.safetensors"}], "expected a name in the folder"),
    "a file of two rounds": (
        [LONG, LONG | {"round": 2}],
        "file = 'a.safetensors': expected a file of this round alone",
    ),
    "a file that is missing": ([LONG | {"file": "b.safetensors"}], "b.safetensors: cannot be read"),
    "arrays without members": (
        [{"round": 1, "file": "a.safetensors"}],
        "shape of clipped = '2 x 4': expected [0, length], a row for each member",
    ),
}

ARRAYS = {
    "an unknown array": (small(noise=np.zeros(4)), "expected some of sent, clipped, start"),
    "whole numbers": (small(released=np.zeros(4, np.int64)), "is of I64: expected F32 or F64"),
    "half precision": (small(released=np.zeros(4, np.float16)), "is of F16: expected F32 or F64"),
    "NaN": (small(released=np.full(4, np.nan)), "holds nan: expected finite numbers"),
    "infinity": (small(released=np.full(4, -np.inf)), "holds inf: expected finite numbers"),
    "too large": (small(released=np.full(4, 2 * LARGEST)), "expected finite numbers, at most"),
    "nothing": (small(released=np.zeros(0)), "expected one or two dimensions, none of them 0"),
    "one number alone": (small(released=np.array(1.0)), "expected one or two dimensions"),
    "a row of nobody": (small(clipped=np.zeros((3, 4))), "expected [2, length], a row for each"),
    "a release of two dimensions": (small(released=np.zeros((1, 4))), "'1 x 4': expected [length]"),
    "of another length": (small(released=np.zeros(5)), "length of released = 5: expected 4"),
}


def refusal(folder):
    with pytest.raises(DataError) as refused:
        read(folder)
    text = str(refused.value)
    assert text.startswith(str(folder))
    assert "\n" not in text
    assert len(text) < 400
    return text


@pytest.mark.parametrize(("changes", "told"), CLAIMS.values(), ids=CLAIMS)
def test_a_claim_that_is_not_one_is_refused(tmp_path, changes, told):
    written(tmp_path, **changes)
    assert told in refusal(tmp_path)


@pytest.mark.parametrize(("rounds", "told"), ROUNDS.values(), ids=ROUNDS)
def test_a_round_that_is_not_one_is_refused(tmp_path, rounds, told):
    written(tmp_path, rounds=rounds)
    if "[1].round" in told:
        written(tmp_path, rounds=[rounds[0], {**rounds[1], "file": "b.safetensors"}])
    assert told in refusal(tmp_path)


@pytest.mark.parametrize(("arrays", "told"), ARRAYS.values(), ids=ARRAYS)
def test_arrays_that_do_not_fit_are_refused(tmp_path, arrays, told):
    written(tmp_path, arrays)
    assert told in refusal(tmp_path)


def test_a_model_needs_what_it_moved_from(tmp_path):
    written(tmp_path, released="model")
    assert "start is missing, from which a model moved" in refusal(tmp_path)


def test_what_is_as_small_as_that_is_read(tmp_path):
    """Otherwise the refusals above show nothing."""
    written(tmp_path)
    assert read(tmp_path).clients == {"a": 0, "b": 1}


TEXTS = {
    "no JSON": (b"{", "not strict JSON"),
    "a number that is none": (b'{"format": NaN}', "not strict JSON"),
    "bytes": (b"\xff\xfe", "not strict JSON"),
    "a nesting": (b"[" * 10**5, "not strict JSON (nested deeper than 50 times)"),
    "no object": (b"[]", "= a list of 0: expected an object"),
    "no format": (b"{}", "format: missing; expected federated-run/1"),
}


@pytest.mark.parametrize(("text", "told"), TEXTS.values(), ids=TEXTS)
def test_a_text_that_is_not_one_is_refused(tmp_path, text, told):
    (tmp_path / FILE).write_bytes(text)
    assert told in refusal(tmp_path)


def test_what_cannot_be_read_is_refused(tmp_path):
    assert "cannot be read (No such file" in refusal(tmp_path)
    os.mkfifo(tmp_path / FILE)
    assert "is a named pipe" in refusal(tmp_path)


def test_more_than_the_format_allows_is_not_read(tmp_path, monkeypatch):
    """By what a header says, and by how long files are, before there are arrays of it."""
    written(tmp_path)
    monkeypatch.setattr("simulations.audit.foreign.reading.MOST", 11)
    assert "more than 67108864 numbers in all; give fewer rounds" in refusal(tmp_path)
    monkeypatch.setattr("simulations.audit.foreign.reading.room", lambda left: 100)
    assert "more than 100 bytes: expected fewer" in refusal(tmp_path)
    monkeypatch.setattr("simulations.audit.foreign.reading._LARGEST_FILE", 10)
    assert "more than 10 bytes: expected fewer" in refusal(tmp_path)


@pytest.mark.parametrize("shape", [(0, 2**62), (2**62, 0)])
def test_a_shape_of_nothing_is_refused(tmp_path, shape):
    written(tmp_path)
    content = save({"released": np.zeros((1, 0), np.float32)})
    (tmp_path / "a.safetensors").write_bytes(content.replace(b"[1,0]", str([*shape]).encode()))
    assert "a.safetensors" in refusal(tmp_path)


def test_numbers_at_the_edge_are_computed_with(tmp_path):
    """Whatever is accepted has an audit, without a warning."""
    edge = np.full(4, LARGEST)
    for claim in (
        {"claim__noise": {"multiplier": 1e-9}, "claim__clipping_norm": 1e-9},
        {"claim__noise": {"deviation": 1e9, "of": "mean"}, "divisor": 1e9},
        {"claim__noise": {"multiplier": 0}, "claim__sampling": {"kind": "fixed", "cohort": 1}},
        {"claim__sampling": {"kind": "poisson", "probability": 1e-9}, "claim__rounds": 10**6},
    ):
        arrays = small(clipped=None, sent=np.stack([edge, -edge]), released=edge)
        written(tmp_path, arrays, **claim)
        assert audited(read(tmp_path))
