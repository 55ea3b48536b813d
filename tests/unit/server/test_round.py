"""One round: what is summed, recorded, noised, divided and kept, and in which order."""

import json
import math

import numpy as np
import pytest
from flwr.app import Error, Message, MessageType
from safetensors.numpy import load_file, save_file

from client.messages import parse, ranks_reply, update_reply
from server import round as round_module
from server.checkpoint import load
from server.federation import run_federation
from server.release.releases import Releases
from shared.config import at_epsilon, from_dict
from shared.errors import ConfigError, EngineError
from shared.privacy.contribution.histogram import WEIGHTS
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.mechanisms.gaussian import GaussianMechanism
from shared.privacy.mechanisms.source import NoiseSource
from shared.run_files import run_files
from shared.update import Update

pytestmark = pytest.mark.usefixtures("flower")

ITEMS, USERS = 5, 8
INITIAL = {
    "item_bias.weight": np.zeros((ITEMS, 1), dtype=np.float32),
    "w": np.full((2, 2), 0.5, dtype=np.float32),
}
DIM = ITEMS + 4


def settings(epsilon=1.0, **sections):
    tree = {
        "federation": {
            "rounds": 3,
            "cohort": 4.0,
            "server_optimizer": "fedavgm",
            "server_lr": 1.0,
            "beta_1": 0.0,
            "popularity_start": False,
            "secure_aggregation": "off",  # the nodes here have no keys
        },
        "privacy": {"epsilon": epsilon, "delta": 1e-3, "clipping_norm": 2.0},
        "seed": 1,
    }
    for section, values in sections.items():
        tree.setdefault(section, {}).update(values)
    return from_dict(tree)


def unit(node):
    """A client's update: of norm 1, its own direction."""
    vector = np.zeros(DIM, dtype=np.float32)
    vector[node % DIM] = 1.0
    return vector


class Canned:
    """A grid whose clients answer with `unit(node)`, or as `answer` says."""

    def __init__(self, users=USERS, answer=None):
        self.nodes = list(range(10, 10 + users))
        self.answer = answer or self.good
        self.cohorts = []
        self.adapters = []

    def get_node_ids(self):
        return self.nodes

    def send_and_receive(self, messages, timeout=None):
        messages = list(messages)
        if messages and messages[0].metadata.message_type == MessageType.TRAIN:
            self.adapters.append(parse(messages[0]).arrays)
        if not messages or messages[0].metadata.message_type == MessageType.TRAIN:
            self.cohorts.append([m.metadata.dst_node_id for m in messages])
        for number, message in enumerate(messages):
            message.metadata.__dict__["_message_id"] = str(number)
            yield self.answer(message, parse(message))

    def good(self, message, request, vector=None):
        node = message.metadata.dst_node_id
        if message.metadata.message_type == MessageType.EVALUATE:
            return ranks_reply(message, [node % 12], [node % 12], [node])
        if message.metadata.message_type == "query.histogram":
            vector = np.zeros(ITEMS, dtype=np.float32)
            vector[node % 2] = 1.0  # items 2 to 4 were met by no one
            return update_reply(message, Update(vector, 1.0, 1.0, f"histogram:{ITEMS}"), [node])
        vector = unit(node) if vector is None else vector
        norm = float(np.linalg.norm(vector))
        return update_reply(message, Update(vector, 1.0, norm, request.schema), [node])


def files(folder):
    found = run_files(folder, "p")
    for path in (found.initial, found.adapter):
        path.parent.mkdir(parents=True, exist_ok=True)
    save_file(INITIAL, found.initial)
    return found


def flat(arrays):
    return np.concatenate([arrays[name].ravel() for name in sorted(arrays)]).astype(np.float64)


def run(folder, grid, config, **arguments):
    found = files(folder)
    outcome = run_federation(grid, config, found, simulated=True, **arguments)
    return flat(load_file(found.adapter)), outcome, found


@pytest.mark.parametrize("simulated", [True, False])
def test_where_the_adapter_cannot_be_written_nobody_is_asked(tmp_path, simulated):
    found, grid = files(tmp_path), Canned()
    found.adapter.parent.rmdir()
    found.adapter.parent.touch()
    with pytest.raises(ConfigError, match="adapters: cannot be read, or written"):
        run_federation(grid, settings(math.inf), found, simulated=simulated)
    assert grid.cohorts == []
    found.adapter.parent.unlink()  # what is merely missing is made
    run_federation(grid, settings(math.inf), found, simulated=True)
    assert found.adapter.exists()


@pytest.mark.parametrize("content", [None, b"", b"no tensors"])
def test_an_initial_adapter_that_cannot_be_read_is_named(tmp_path, content):
    found, grid = files(tmp_path), Canned()
    found.initial.unlink() if content is None else found.initial.write_bytes(content)
    with pytest.raises(ConfigError, match="safetensors: cannot be read"):
        run_federation(grid, settings(math.inf), found, simulated=False)
    assert grid.cohorts == []


def test_without_noise_the_step_is_the_sum_over_the_expected_cohort(tmp_path):
    """Equal weights; divided by 4, however many took part."""
    grid = Canned()
    adapter, outcome, _ = run(tmp_path, grid, settings(math.inf))
    sizes = [len(cohort) for cohort in grid.cohorts]
    assert any(size != 4 for size in sizes)
    everyone = [node for cohort in grid.cohorts for node in cohort]
    expected = flat(INITIAL) + np.sum([unit(node) for node in everyone], axis=0) / 4
    np.testing.assert_allclose(adapter, expected, atol=1e-6)
    assert [entry["participants"] for entry in outcome["history"]] == sizes
    moved = 4 * DIM * 3 * 4  # bytes of a number, numbers, rounds, expected cohort
    assert outcome["communication_bytes"] == {"up": moved, "down": moved}


def test_each_round_sends_the_adapter_of_the_last(tmp_path):
    grid = Canned()
    run(tmp_path, grid, settings(math.inf))
    theta = flat(INITIAL)
    for cohort, sent in zip(grid.cohorts, grid.adapters, strict=True):
        np.testing.assert_allclose(flat(sent), theta, atol=1e-6)
        theta = theta + np.sum([unit(node) for node in cohort], axis=0) / 4


def test_noise_is_added_to_the_sum_before_the_division(tmp_path, monkeypatch):
    """With noise of +1 standard deviation everywhere: + z C / (q N) a round."""
    monkeypatch.setattr(
        "shared.privacy.mechanisms.source.NoiseSource.normal", lambda self, size: np.ones(size)
    )
    grid = Canned()
    adapter, outcome, _ = run(tmp_path, grid, settings())
    everyone = [node for cohort in grid.cohorts for node in cohort]
    signal = np.sum([unit(node) for node in everyone], axis=0) / 4
    noise = 3 * outcome["noise_multiplier"] * 2.0 / 4
    assert noise > 1
    np.testing.assert_allclose(adapter, flat(INITIAL) + signal + noise, rtol=1e-6)


def test_the_ledger_line_is_on_disk_before_there_is_any_noise(tmp_path, monkeypatch):
    release = GaussianMechanism.release
    seen = []

    def spy(self, total, source):
        entries = Ledger.open(run_files(tmp_path, "p").ledger).entries  # read from the file
        seen.append([(entry.release, entry.round) for entry in entries])
        assert entries[-1].event == self.event(1.0 if len(seen) == 1 else 0.5)
        return release(self, total, source)

    monkeypatch.setattr(GaussianMechanism, "release", spy)
    run(tmp_path, Canned(), settings(federation={"popularity_start": True}))
    every = [("histogram", 0), ("update", 1), ("update", 2), ("update", 3)]
    assert seen == [every[: n + 1] for n in range(4)]


def test_the_checkpoint_comes_after_the_ledger_and_before_the_round_is_told(tmp_path, monkeypatch):
    save, order = round_module.save, []

    def spy(state, file):
        order.append(("save", state.round_number, len(Ledger.open(found.ledger))))
        save(state, file)

    monkeypatch.setattr(round_module, "save", spy)
    found = files(tmp_path)
    told = lambda entry: order.append(("told", int(entry["round"])))  # noqa: E731
    run_federation(Canned(), settings(), found, simulated=True, on_round=told)
    assert order == [step for t in (1, 2, 3) for step in (("save", t, t), ("told", t))]


def test_an_empty_cohort_releases_pure_noise_and_is_recorded(tmp_path):
    config = at_epsilon(settings(federation={"cohort": 0.1}), 1.0, seed=31)  # which draws no one
    adapter, outcome, found = run(tmp_path, grid := Canned(), config)
    assert grid.cohorts == [[], [], []]
    assert [entry["signal_norm"] for entry in outcome["history"]] == [0, 0, 0]
    assert all(entry["noise_norm"] > 0 for entry in outcome["history"])
    assert [entry.round for entry in Ledger.open(found.ledger).entries] == [1, 2, 3]
    assert np.all(adapter != flat(INITIAL))


def bad_replies(kind):
    def answer(message, request):
        node, good = message.metadata.dst_node_id, Canned().good
        if node % 4 or message.metadata.message_type != MessageType.TRAIN:
            return good(message, request)
        if kind == "error":
            return Message(Error(code=1, reason="secret"), reply_to=message)
        vector = {"NaN": np.nan, "too long": 3.0}.get(kind, 1.0) * unit(node)
        schema = "other" if kind == "schema" else request.schema
        return update_reply(message, Update(vector, 1.0, 1.0, schema), [node])

    return answer


@pytest.mark.parametrize("kind", ["error", "NaN", "too long", "schema"])
def test_a_bad_reply_is_a_failure_and_contributes_nothing(kind, tmp_path, monkeypatch):
    totals = []
    release = Releases.release

    def told(self, kind, total, round_number):
        totals.append(total)
        return release(self, kind, total, round_number)

    monkeypatch.setattr(Releases, "release", told)
    grid = Canned(answer=bad_replies(kind))
    _, outcome, _ = run(tmp_path, grid, settings())
    for cohort, total, entry in zip(grid.cohorts, totals, outcome["history"], strict=True):
        counted = [node for node in cohort if node % 4]
        np.testing.assert_array_equal(total, np.sum([unit(node) for node in counted], axis=0))
        assert entry["participants"] == len(counted)
        assert entry["failures"] == len(cohort) - len(counted)
    assert sum(entry["failures"] for entry in outcome["history"]) > 0


def test_a_round_in_which_every_reply_fails_raises_before_the_ledger(tmp_path):
    def answer(message, request):
        return Message(Error(code=1, reason="secret"), reply_to=message)

    with pytest.raises(EngineError, match="round 1: no update counted") as caught:
        run(tmp_path, Canned(answer=answer), settings())
    assert "secret" not in str(caught.value)
    assert len(Ledger.open(run_files(tmp_path, "p").ledger)) == 0


def test_two_budgets_and_two_seeds_share_no_noise(tmp_path):
    """Equal draws would let the difference of two points of a sweep cancel their noise."""

    def nothing(message, request):
        return Canned().good(message, request, np.zeros(DIM, dtype=np.float32))

    noises = []
    for number, (epsilon, seed) in enumerate([(1.0, 1), (2.0, 1), (1.0, 2), (1.0, 1)]):
        config = at_epsilon(settings(epsilon, federation={"rounds": 2}), epsilon, seed)
        adapter, outcome, _ = run(tmp_path / str(number), Canned(answer=nothing), config)
        noises.append((adapter - flat(INITIAL)) / outcome["noise_multiplier"])
    np.testing.assert_allclose(noises[0], noises[3])
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(noises[a] - noises[b]).min() > 1e-9


def checkpoint_of(folder):
    return load(run_files(folder, "p").checkpoint)


def test_the_average_of_the_last_iterates_is_released(tmp_path):
    grid = Canned()
    config = settings(1.0, federation={"rounds": 4, "average_last": 0.5})
    adapter, _, _ = run(tmp_path, grid, config)
    third, last = flat(grid.adapters[3]), checkpoint_of(tmp_path).adapter  # after rounds 3 and 4
    np.testing.assert_allclose(adapter, (third + last) / 2, rtol=1e-5)
    assert not np.allclose(adapter, last)


def test_selection_keeps_the_best_validation_and_only_without_privacy(tmp_path):
    def answer_with(ranks):
        def answer(message, request):
            if message.metadata.message_type == MessageType.EVALUATE and request.round_number < 4:
                rank = ranks[request.round_number - 1]
                return ranks_reply(message, [rank], [rank], [message.metadata.dst_node_id])
            return Canned().good(message, request)

        return answer

    every_round = {"federation": {"evaluate_every": 1}}
    grid = Canned(answer=answer_with([5, 0, 3]))  # round 2 is the best
    adapter, outcome, _ = run(tmp_path / "a", grid, settings(math.inf, **every_round))
    np.testing.assert_allclose(adapter, flat(grid.adapters[2]), atol=1e-6)
    assert [entry["hr@10"] for entry in outcome["history"]] == [1, 1, 1]
    assert outcome["history"][1]["ndcg@10"] == 1
    grid = Canned(answer=answer_with([5, 0, 3]))
    adapter, outcome, _ = run(tmp_path / "b", grid, settings(1.0, **every_round))
    assert all("hr@10" not in entry for entry in outcome["history"])
    np.testing.assert_allclose(adapter, checkpoint_of(tmp_path / "b").adapter, rtol=1e-6)


@pytest.mark.parametrize(
    ("ranks", "kept"),
    [
        pytest.param([(0, 0), (0, 9), (5, 0), (9, 9)], 0, id="the start is above every round"),
        pytest.param([(9, 50), (0, 50), (2, 3), (9, 9)], 2, id="both protocols count"),
    ],
)
def test_the_start_is_among_those_selected_from_and_so_is_the_full_protocol(tmp_path, ranks, kept):
    def answer(message, request):
        if message.metadata.message_type == MessageType.EVALUATE and request.phase == "validation":
            sampled, full = ranks[min(request.round_number, 3)]
            return ranks_reply(message, [sampled], [full], [message.metadata.dst_node_id])
        return Canned().good(message, request)

    grid = Canned(answer=answer)
    config = settings(math.inf, federation={"evaluate_every": 1, "rounds": 3})
    adapter, _, _ = run(tmp_path, grid, config)
    np.testing.assert_allclose(adapter, flat(grid.adapters[kept]), atol=1e-6)


def test_popularity_start_follows_its_formula(tmp_path):
    config = settings(
        math.inf, federation={"popularity_start": True, "popularity_strength": 0.7, "rounds": 1}
    )
    grid = Canned()
    _, outcome, found = run(tmp_path, grid, config)
    two = np.array([1.0, 1.0, 0, 0, 0])  # those of the counts 4, 4, 0, 0, 0: any term is like it
    expected = 0.7 * sum(WEIGHTS) * (two - two.mean()) / two.std()
    bias = grid.adapters[0]["item_bias.weight"][:, 0]
    np.testing.assert_allclose(bias, expected, rtol=1e-6)
    np.testing.assert_array_equal(grid.adapters[0]["w"], INITIAL["w"])
    assert outcome["communication_bytes"]["up"] == 4 * (USERS * ITEMS + DIM * 4)
    assert Ledger.open(found.ledger).entries[0].release == "histogram"


def test_popularity_start_needs_a_bias(tmp_path):
    found = files(tmp_path)
    save_file({"w": INITIAL["w"]}, found.initial)
    config = settings(federation={"popularity_start": True})
    with pytest.raises(ConfigError, match="item_bias = true"):
        run_federation(Canned(), config, found, simulated=True)


def test_a_histogram_that_no_one_answers_raises(tmp_path):
    def answer(message, request):
        return Message(Error(code=1, reason="x"), reply_to=message)

    config = settings(federation={"popularity_start": True})
    with pytest.raises(EngineError, match="histogram: no update counted"):
        run(tmp_path, Canned(answer=answer), config)


def test_without_clients_there_is_no_run(tmp_path):
    with pytest.raises(ConfigError, match="no client"):
        run(tmp_path, Canned(users=0), settings())


def test_a_deployment_neither_seeds_nor_evaluates(tmp_path, monkeypatch):
    made = []
    secure = NoiseSource.secure
    monkeypatch.setattr(NoiseSource, "secure", lambda: made.append(secure()) or made[-1])
    found = files(tmp_path)
    outcome = run_federation(Canned(), settings(), found, simulated=False)
    assert len(made) == 3
    assert all(source.is_secure for source in made)
    assert "metrics" not in outcome
    assert json.loads(found.outcome.read_text()) == outcome


def test_metrics_are_over_the_stated_number_of_users(tmp_path):
    grid = Canned()
    grid.nodes = range(10, 10 + 10**6)
    asked = []

    def listen(message, request):
        if message.metadata.message_type == MessageType.EVALUATE:
            asked.append(message.metadata.dst_node_id)
        return grid.good(message, request)

    grid.answer = listen
    config = settings(
        math.inf,
        data={"evaluated_users": 4},
        federation={"evaluate_every": 3, "cohort": 5.0},
        privacy={"delta": 1e-7},
    )
    _, outcome, _ = run(tmp_path, grid, config)
    assert asked == 4 * [10, 11, 12, 13]  # selection, of the start too, validation, test
    assert outcome["metrics"]["users"] == 4


def test_everybody_is_evaluated_where_there_are_fewer(tmp_path):
    _, outcome, _ = run(tmp_path, Canned(), settings(math.inf, data={"evaluated_users": USERS}))
    assert outcome["metrics"]["users"] == USERS
