"""Noise in shares through the whole federation: what is sent, summed, recorded and opened."""

import math

import numpy as np
import pytest
from flwr.app import Error, Message, MessageType
from safetensors.numpy import load_file
from scipy import stats

import server.federation
from server.federation import run_federation
from server.secagg.opening import opened
from shared.errors import ConfigError
from shared.privacy.accounting.events import SkellamDpEvent
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.mechanisms.distributed import SkellamMechanism
from shared.privacy.mechanisms.rotation import Rotation
from shared.privacy.mechanisms.skellam import SkellamNoise
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.plan.plan import server_plan
from shared.privacy.plan.summed import NoisedForm, summed_form
from simulations.flower.grid import CohortGrid, SequentialGrid
from simulations.world.world import World
from tests.support.asking import trained
from tests.support.federations import federate, point_config, prepare
from tests.support.tiny import Edited, make_engine, random_adapter, relative, with_micro_batch

pytestmark = pytest.mark.usefixtures("flower")

USERS, ROUNDS = 30, 3
EVERYONE = {"cohort": 1.0, "rounds": ROUNDS}


@pytest.fixture(scope="module")
def engine(tiny_bert):
    return make_engine(Edited(World(users=USERS, items=60), {0: [], 1: [7]}), tiny_bert)


@pytest.fixture(scope="module")
def silent(tiny_bert):
    """Next to nobody has done anything: what arrives is noise."""
    nothing = {user: [] for user in range(USERS)} | {0: [4, 5, 6]}  # who can be evaluated
    return make_engine(Edited(World(users=USERS, items=60), nothing), tiny_bert)


@pytest.fixture
def config(tiny_bert):
    def make(**sections):
        sections["privacy"] = {"trust": "distributed"} | sections.get("privacy", {})
        sections["federation"] = EVERYONE | sections.get("federation", {})
        return point_config(tiny_bert, **sections)

    return make


def mechanism(config, kind="update"):
    return server_plan(config, USERS).planned(kind).mechanism


def steps(total, settings, number):
    """A released sum of updates in whole grid steps, as it was before it was turned back."""
    form = summed_form(settings, USERS, "update", round_number=number)
    turn = Rotation(total.size, *form.context)
    turned = turn.forward(total) / form.mechanism.grid(total.size).step
    whole = np.rint(turned)
    np.testing.assert_allclose(turned, whole, atol=1e-5)
    return whole.astype(np.int64)


@pytest.mark.parametrize("federation", [{}, {"cohort": 15.0}], ids=["everyone", "drawn"])
def test_engines_send_the_same_sums_up_to_rounding(
    federation, engine, config, tmp_path, monkeypatch
):
    settings = config(federation=federation)
    slow = federate(tmp_path / "slow", SequentialGrid(engine), settings, monkeypatch)
    fast = federate(
        tmp_path / "fast", CohortGrid(with_micro_batch(engine, 7)), settings, monkeypatch
    )
    assert len(fast.totals) == len(slow.totals) == 1 + ROUNDS
    np.testing.assert_array_equal(fast.totals[0], slow.totals[0])  # a histogram is not trained
    apart = np.abs(steps(fast.totals[1], settings, 1) - steps(slow.totals[1], settings, 1))
    # What is drawn for rounding may fall on either side of a contribution's fraction.
    assert apart.max() <= 2
    assert (apart == 0).mean() > 0.9
    assert relative(fast.adapter, slow.adapter) < 1e-4
    assert [e.event for e in fast.ledger.entries] == [e.event for e in slow.ledger.entries]


def test_the_sum_holds_the_contributions_of_all(engine, config, tmp_path, monkeypatch):
    """With next to no noise it is that of central trust, up to a step of the grid for each user."""
    monkeypatch.setattr(SkellamNoise, "draw", lambda self, source, size: np.zeros(size, dtype=int))
    settings = config(federation={"rounds": 1})
    shared = federate(tmp_path / "shared", CohortGrid(engine), settings, monkeypatch)
    central = config(federation={"rounds": 1}, privacy={"trust": "central"})
    exact = federate(tmp_path / "central", CohortGrid(engine), central, monkeypatch)
    histogram, update = (np.abs(shared.totals[i] - exact.totals[i]).max() for i in (0, 1))
    assert np.linalg.norm(exact.totals[0]) > 1
    grid = mechanism(settings, "histogram").grid(exact.totals[0].size)
    assert histogram <= 6 * math.sqrt(USERS) / 2 * grid.step  # deviations of rounding at random
    # The second histogram's noise is another, so are the biases that updates start from.
    assert update > 0


def noise_p(total, settings, kind):
    """Chance of so large or so small a sum of squares, were the noise that of everyone's shares.

    What is accounted is less by the shares of those who may collude.
    """
    mech = mechanism(settings, kind)
    assert mech.counted.survivors == USERS - USERS // 10
    shares = USERS / mech.counted.survivors
    squares = float(total @ total) / (mech.noise_multiplier * mech.clip.norm) ** 2 / shares
    cdf = stats.chi2(total.size).cdf(squares)  # the normal limit: the noise is 10^4 steps wide
    return 2 * min(cdf, 1 - cdf)


FALSE_ALARM = 1e-7


def test_what_is_released_has_the_noise_that_is_accounted(silent, config, tmp_path, monkeypatch):
    settings = config()
    run = federate(tmp_path, CohortGrid(silent), settings, monkeypatch)
    kinds = ["histogram", *["update"] * ROUNDS]
    for total, kind in zip(run.totals, kinds, strict=True):
        assert noise_p(total, settings, kind) > FALSE_ALARM
    one, two = (total / np.linalg.norm(total) for total in run.totals[1:3])
    assert abs(one @ two) < 5.4 / math.sqrt(one.size)  # of independent noise: one in 10^7


@pytest.mark.parametrize("planted", ["half", "one device only", "every round alike"])
def test_noise_that_is_not_is_found(planted, silent, config, tmp_path, monkeypatch):
    """The negative controls of the test above."""
    draw, drawn = SkellamNoise.draw, []

    def wrong(self, source, size):
        if planted == "half":
            return draw(self, source, size) // 2
        if planted == "one device only":
            drawn.append(size)
            return draw(self, source, size) * (len(drawn) % USERS == 1)
        return draw(self, NoiseSource.seeded(1), size)

    monkeypatch.setattr(SkellamNoise, "draw", wrong)
    settings = config()
    run = federate(tmp_path, CohortGrid(silent), settings, monkeypatch)
    assert noise_p(run.totals[1], settings, "update") < FALSE_ALARM


def test_a_single_message_is_an_element_of_the_ring_and_looks_like_noise(engine, config):
    settings = config()
    mech, asked = mechanism(settings), engine.schema.trainable
    adapter = random_adapter(engine.schema)
    apart = trained(engine, range(USERS), adapter, settings, merge=False)
    together = trained(engine, range(USERS), adapter, settings, merge=True)
    for _, update in [*apart, *together]:
        update.check(asked.digest, asked.dim, None, mech.ring)
        assert update.norm == 0
    lengths = [np.linalg.norm(mech.ring.centred(update.vector)) for _, update in apart]
    grid = mech.grid(asked.dim)
    expected = math.sqrt(grid.share * asked.dim)
    assert min(lengths) > 0.8 * expected > 2 * grid.rounding.steps
    form = summed_form(settings, USERS, "update")
    (one,), (other,) = (opened((u for _, u in way), form) for way in (apart, together))
    np.testing.assert_array_equal(one.vector, other.vector)


class Watched(CohortGrid):
    """Looks at the ledger whenever devices are asked for something that they noise."""

    def __init__(self, engine, ledger, answer=None):
        super().__init__(engine)
        self.ledger, self.seen = ledger, []
        self.answer = answer or (lambda message, replies: replies)

    def send_and_receive(self, messages, *, timeout=None):
        messages = list(messages)
        if messages and messages[0].metadata.message_type != MessageType.EVALUATE:
            entries = Ledger.open(self.ledger).entries
            self.seen.append([(entry.release, entry.round) for entry in entries])
        return self.answer(messages, super().send_and_receive(messages, timeout=timeout))


def test_a_release_is_on_the_ledger_before_anyone_is_asked(engine, config, tmp_path):
    files = prepare(tmp_path, engine)
    grid = Watched(engine, files.ledger)
    run_federation(grid, config(), files, simulated=True)
    every = [("histogram", 0), ("update", 1), ("update", 2), ("update", 3)]
    assert grid.seen == [every[: n + 1] for n in range(4)]
    events = {type(entry.event) for entry in Ledger.open(files.ledger).entries}
    assert events == {SkellamDpEvent}


def test_a_ring_that_does_not_hold_the_updates_is_refused_before_anything_is_counted(
    engine, config, tmp_path, monkeypatch
):
    monkeypatch.setattr(SkellamMechanism, "check", lambda self: None)  # of another size
    files, settings = prepare(tmp_path, engine), config(privacy={"ring_bits": 12, "epsilon": 0.2})
    grid = Watched(engine, files.ledger)
    with pytest.raises(ConfigError, match=r"privacy\.ring_bits = 12: too few for sums of \d+ num"):
        run_federation(grid, settings, files, simulated=True)
    assert (grid.seen, len(Ledger.open(files.ledger))) == ([], 0)


def losing(fraction, kind):
    """Some of the devices go away, where they are asked one by one."""

    def answer(messages, replies):
        if not messages or messages[0].metadata.message_type != kind:
            return list(replies)
        kept = list(replies)
        lost = int(len(kept) * fraction)
        gone = [Message(Error(code=1, reason="x"), reply_to=m) for m in messages[:lost]]
        return [*gone, *kept[lost:]]

    return answer


class WatchedOneByOne(Watched, SequentialGrid):
    def __init__(self, engine, ledger, answer):
        SequentialGrid.__init__(self, engine)
        self.ledger, self.seen, self.answer = ledger, [], answer

    _answer = SequentialGrid._answer


@pytest.mark.parametrize(("survivors", "open_rounds"), [(None, 0), (0.5, ROUNDS)])
def test_with_too_few_survivors_nothing_is_opened_and_the_round_is_paid_for(
    survivors, open_rounds, engine, config, tmp_path, monkeypatch
):
    read = []
    spied = NoisedForm.decode
    monkeypatch.setattr(
        NoisedForm, "decode", lambda self, total: read.append(1) or spied(self, total)
    )
    settings = config(federation={"popularity_start": False}, privacy={"min_survivors": survivors})
    files = prepare(tmp_path, engine)
    grid = WatchedOneByOne(engine, files.ledger, losing(0.4, MessageType.TRAIN))
    outcome = run_federation(grid, settings, files, simulated=True)
    assert len(read) == open_rounds
    assert [entry.round for entry in Ledger.open(files.ledger).entries] == [1, 2, 3]
    assert [entry["participants"] for entry in outcome["history"]] == [USERS - 12] * ROUNDS
    initial, last = load_file(files.initial), load_file(files.adapter)
    assert all(np.array_equal(initial[name], last[name]) for name in initial) == (not open_rounds)


def test_a_drawn_cohort_that_is_too_small_is_not_asked(engine, config, tmp_path):
    settings = config(federation={"cohort": 15.0}, privacy={"min_survivors": 1.0, "colluding": 0.0})
    files = prepare(tmp_path, engine)
    grid = Watched(engine, files.ledger)
    outcome = run_federation(grid, settings, files, simulated=True)
    sizes = [entry["participants"] for entry in outcome["history"]]
    assert 0 in sizes
    assert all(size == 0 or size >= 15 for size in sizes)
    assert len(Ledger.open(files.ledger)) == 1 + ROUNDS


def test_too_small_a_histogram_is_not_opened_and_the_run_goes_on_from_a_flat_start(
    engine, config, tmp_path, monkeypatch
):
    files, started = prepare(tmp_path, engine), []
    spied = server.federation.save_state
    monkeypatch.setattr(
        server.federation, "save_state", lambda *of: started.append(of[0].adapter) or spied(*of)
    )
    grid = WatchedOneByOne(engine, files.ledger, losing(0.4, "query.histogram"))
    outcome = run_federation(grid, config(), files, simulated=True)
    kinds = [entry.release for entry in Ledger.open(files.ledger).entries]
    assert kinds == ["histogram"] + ["update"] * ROUNDS  # paid for all the same
    assert outcome["rounds"] == ROUNDS
    assert not files.popularity.exists()
    initial = engine.schema.join(load_file(files.initial))
    np.testing.assert_array_equal(started[0], initial)


def test_an_interrupted_point_goes_on_to_the_same_end(engine, config, tmp_path, monkeypatch):
    settings = config()
    whole = federate(tmp_path / "whole", CohortGrid(engine), settings, monkeypatch)

    def stop(entry):
        if entry["round"] == 2:
            raise KeyboardInterrupt

    folder = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        federate(folder, CohortGrid(engine), settings, monkeypatch, on_round=stop)
    rest = federate(folder, CohortGrid(engine), settings, monkeypatch)
    np.testing.assert_array_equal(rest.adapter, whole.adapter)
    assert len(rest.ledger) == len(whole.ledger)


def test_two_points_share_no_noise(silent, config):
    adapter = random_adapter(silent.schema)
    vectors = []
    for seed, bits in ((5, 32), (6, 32), (5, 31)):
        settings = config(privacy={"ring_bits": bits}, seed=seed)
        ((_, update),) = trained(silent, [3], adapter, settings, merge=True)
        vectors.append(mechanism(settings).ring.centred(update.vector))
    for one, other in ((0, 1), (0, 2)):
        cosine = vectors[one] @ vectors[other]
        cosine /= np.linalg.norm(vectors[one]) * np.linalg.norm(vectors[other])
        assert abs(cosine) < 5.4 / math.sqrt(len(vectors[0]))
