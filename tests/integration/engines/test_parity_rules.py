"""Every aggregation rule on every engine: the same sums, the same adapter, and bytes by formula."""

import math

import numpy as np
import pytest
from safetensors.numpy import load_file

from shared.aggregation import RULES
from shared.aggregation.selective import cores, downs, ups
from shared.aggregation.travel import SKETCH as FIXED
from shared.aggregation.travel import sent
from shared.config.rules import factors_of
from shared.model.adapter import current
from shared.privacy.ledger.device_ledgers import DeviceLedgers
from simulations.flower.grid import CohortGrid, SequentialGrid
from simulations.world.world import World
from tests.support.asking import asked
from tests.support.federations import federate, held, point_config
from tests.support.tiny import Edited, make_engine, random_adapter, relative, with_micro_batch

pytestmark = pytest.mark.usefixtures("flower")

TOLERANCE = 1e-4
ROUNDS, USERS, ITEMS = 2, 10, 30  # a round of each of two turns
SHORT = {0: [], 1: [7], 2: [3, 9], 3: [4, 5, 6]}
FEDERATION = {"rounds": ROUNDS, "cohort": 6.0, "average_last": 0.6, "evaluate_every": 0}
UNITS = {
    "user": {"train": {"local_steps": 2, "weight_decay": 0.01, "max_windows": 2}},
    "example, local": {
        "privacy": {"unit": "example", "trust": "local", "epsilon": 8.0},
        "train": {"max_windows": 2},
    },
    "not private": {"epsilon": math.inf, "train": {"weight_decay": 0.01, "max_windows": 2}},
}
OF_USERS = ("fedsa", "flexlora")  # refuse to work by example
CASES = [
    (rule, unit)
    for rule in RULES
    if rule != "fedit"
    for unit in UNITS
    if unit != "example, local" or rule not in OF_USERS
]
FACTORS = ("drawn", "principal", "core")
PADDED = (
    "fedsa",
    "fedsb",
    "principal",
)  # what they train is unlike the others'; those pad the same batches
BATCHED = [(*case, "packed") for case in CASES] + [
    pytest.param(*case, "padded", marks=[] if case[0] in PADDED else [pytest.mark.slow])
    for case in CASES
]


@pytest.fixture(scope="module")
def engines(tiny_bert):
    """Of models whose factors begin in each way."""
    population = Edited(World(users=USERS, items=ITEMS), SHORT)
    return {f: make_engine(population, tiny_bert, factors=f) for f in FACTORS}


@pytest.fixture(scope="module")
def one_by_one(engines, tiny_bert, tmp_path_factory):
    """The run of a case through the real ClientApp and device, computed once."""
    done = {}

    def run(rule, unit):
        if (rule, unit) not in done:
            folder = tmp_path_factory.mktemp("sequential")
            with pytest.MonkeyPatch.context() as patch:
                grid = SequentialGrid(engines[factors_of(rule)], folder / "devices" / "point")
                done[rule, unit] = federate(folder, grid, settings(tiny_bert, rule, unit), patch)
        return done[rule, unit]

    return run


def settings(backbone, rule, unit):
    sections = UNITS[unit] | {"federation": FEDERATION | {"aggregation": rule}}
    return point_config(backbone, **sections)


@pytest.mark.parametrize(("rule", "unit", "batching"), BATCHED)
def test_batched_equals_one_by_one(
    rule, unit, batching, engines, one_by_one, tiny_bert, tmp_path, monkeypatch
):
    slow = one_by_one(rule, unit)
    engine = with_micro_batch(engines[factors_of(rule)], 4, batching)
    grid = CohortGrid(engine, tmp_path / "devices" / "point")
    fast = federate(tmp_path, grid, settings(tiny_bert, rule, unit), monkeypatch)
    before = 1 + (unit == "not private")  # the histogram, and what people have together
    assert len(fast.totals) == len(slow.totals) == before + ROUNDS
    for number, (ours, theirs) in enumerate(zip(fast.totals, slow.totals, strict=True), 1 - before):
        assert relative(ours, theirs) < TOLERANCE
        assert number < 1 or len(ours) == summed(engine.schema, rule, number).dim
    assert relative(fast.adapter, slow.adapter) < TOLERANCE
    assert fast.outcome["metrics"] == slow.outcome["metrics"]
    if unit == "example, local":
        ours, theirs = (DeviceLedgers.open(r.folder / "devices" / "point") for r in (fast, slow))
        assert ours.histories() == theirs.histories()


def summed(schema, rule, turn):
    return RULES[rule].space(trained(schema, rule, turn))


def trained(schema, rule, turn):
    return schema.subset(RULES[rule].trained(schema.names, turn))


@pytest.mark.parametrize("rule", RULES)
def test_what_is_frozen_is_the_initial_adapters_to_the_last_bit(rule, one_by_one):
    """Whatever decays, averages or adds noise; and everything else moved."""
    run = one_by_one(rule, "user")
    before, after = load_file(run.files.initial), load_file(run.files.adapter)
    fixed = {*held(RULES[rule], sorted(before)), *RULES[rule].released(sorted(before))}
    for name, array in before.items():
        assert np.array_equal(after[name], array) == (name in fixed), name


HIDDEN, INNER, LAYERS, RANK = 32, 48, 2, 2  # of the tiny model
PAIRS = {"query": (HIDDEN, HIDDEN), "value": (HIDDEN, HIDDEN)}
PAIRS |= {"attention.output": (HIDDEN, HIDDEN)}
PAIRS |= {"intermediate": (HIDDEN, INNER), "output": (INNER, HIDDEN)}
A = LAYERS * sum(RANK * width_in for width_in, _ in PAIRS.values())
B = LAYERS * sum(RANK * width_out for _, width_out in PAIRS.values())
R = LAYERS * len(PAIRS) * RANK**2
REST = ITEMS * 3 + 2 * 3 * HIDDEN + 4 * 4 + ITEMS  # item correction, core, bias
RELEASED = 5 * 4 + 2 * ITEMS * 3  # mix, two tables: sent, never trained
KEPT = 2 * 3 * HIDDEN  # item_up and item_down
SKETCH = 2 * LAYERS * len(PAIRS)  # two numbers for each fixed tensor
# rule -> numbers in an upload of round 1 and of round 2, and in a download
NUMBERS = {
    "fedit": (A + B + REST, A + B + REST, A + B + REST),
    "ffa": (B + REST, B + REST, B + REST + SKETCH),
    "alternating": (B + REST, A + REST, A + B + REST),
    "fedsvd": (B + REST, B + REST, A + B + REST),
    "fedsb": (R + REST, R + REST, R + REST + 2 * SKETCH),
    "fedsa": (A + REST - KEPT, A + REST - KEPT, A + REST - KEPT),
    "flexlora": (A + B + REST, A + B + REST, A + B + REST),  # by rank: tests of its own
    "principal": (B + REST - KEPT, B + REST - KEPT, B + REST - KEPT + SKETCH + 2),
}


@pytest.mark.parametrize("rule", RULES)
def test_bytes_are_those_of_the_formula(rule, one_by_one):
    outcome = one_by_one(rule, "user").outcome
    *up, down = NUMBERS[rule]
    sizes = [6.0] * ROUNDS  # the expected cohort, whoever came
    assert [entry["participants"] for entry in outcome["history"]] != sizes
    histogram = 4 * ITEMS * USERS
    assert outcome["communication_bytes"] == {
        "up": histogram + sum(4 * n * size for n, size in zip(up, sizes, strict=True)),
        "down": 4 * (down + RELEASED) * sum(sizes),
    }
    assert outcome["trained_parameters"] == max(up) + (rule == "alternating") * min(A, B)


def test_the_formulas_are_about_the_tiny_models_tensors(engines):
    pairs, cored = (engines[factors].schema for factors in ("drawn", "core"))
    for schema, found, size in ((pairs, downs, A), (pairs, ups, B), (cored, cores, R)):
        assert schema.subset(found(schema.names)).dim == size


CLIPPED = [(rule, unit) for rule in RULES if rule != "flexlora" for unit in ("user", "example")]


@pytest.mark.parametrize(
    ("rule", "unit"), [case for case in CLIPPED if case != ("fedsa", "example")]
)
def test_what_is_not_trained_takes_no_room_in_the_clip(rule, unit, engines, tiny_bert, tmp_path):
    """Clipped together with it, and cut off afterwards, updates would be shorter than the clip."""
    engine, clip = engines[factors_of(rule)], 1e-4
    privacy = {"unit": unit, "clipping_norm": clip, "example_clipping_norm": clip}
    config = point_config(
        tiny_bert,
        privacy=privacy,
        train={"max_windows": 1, "local_lr": 1.0},
        federation={"aggregation": rule},
    )
    for turn in (1, 2):
        request = asked(config, number=turn, arrays=_sent(engine, rule))
        for way in ("packed", "padded"):
            at = tmp_path / "devices" / way
            found = with_micro_batch(engine, 3, way).answer(request, [4, 5], at)
            for _, update in found:
                assert update.schema == trained(engine.schema, rule, turn).digest
                assert update.norm == pytest.approx(clip, rel=1e-5)
                assert update.norm <= clip * (1 + 1e-9)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "flexlora"])
def test_a_hostile_adapter_moves_nobody_beyond_the_clip(rule, engines, tiny_bert, tmp_path):
    """Numbers so large that losses overflow: what comes back is finite and within the clip.

    FlexLoRA clips on the server, which refuses what is not finite.
    """
    engine = engines[factors_of(rule)]
    config = point_config(tiny_bert, federation={"aggregation": rule})
    arrays = {n: a if n == FIXED else a * 1e20 for n, a in _sent(engine, rule).items()}
    for turn in (1, 2):
        at, request = tmp_path / "devices" / "point", asked(config, number=turn, arrays=arrays)
        for _, update in engine.answer(request, [4, 5], at):
            update.check(trained(engine.schema, rule, turn).digest, len(update.vector), 0.5)
            assert np.linalg.norm(update.vector.astype(np.float64)) <= 0.5 * (1 + 1e-9)


def _sent(engine, rule):
    schema = engine.schema
    arrays = schema.split(random_adapter(schema).numpy())
    own = schema.split(current(engine.recommender, schema).numpy())
    return sent(RULES[rule], arrays | {n: own[n] for n in held(RULES[rule], schema.names)})
