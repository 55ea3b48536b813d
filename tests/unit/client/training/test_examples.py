"""One local step against Opacus's own optimiser and a loop; the noise against its law."""

import copy
import math

import numpy as np
import pytest
import torch
from opacus.grad_sample import GradSampleModule
from opacus.optimizers import DPOptimizer
from scipy import stats

from client.training.examples import Client, ExampleTraining
from client.training.gradients import check_gradients, opacus_gradients, stacked_gradients
from client.training.train import window_loss
from shared.data.windows import Windows, windows
from shared.errors import ConfigError, ModelError
from shared.model.adapter import current, install
from shared.privacy.contribution.histogram import example_histogram
from shared.privacy.contribution.units import example_clip
from shared.privacy.plan.plan import device_plan
from simulations.engine.packed import PackedGradients
from simulations.world.world import World
from tests.support.federations import point_config
from tests.support.tiny import LENGTH, make_engine, random_adapter, relative

ITEMS, USERS = 60, 12
ENGINES = {"opacus": opacus_gradients, "vmap": stacked_gradients}
LOCAL = {"unit": "example", "trust": "local", "epsilon": 8.0, "delta": 1e-3}
CENTRAL = LOCAL | {"trust": "central"}
LONG = np.arange(31) % ITEMS  # 29 to train on: four windows of 8, the contribution bound is 3


@pytest.fixture(scope="module")
def engine(tiny_bert):
    return make_engine(World(users=USERS, items=ITEMS), tiny_bert)


def settings(backbone, privacy, **train):
    return point_config(backbone, privacy=privacy, train=train)


def step(engine, config, make, ledger=None, history=LONG, round_number=1):
    training = ExampleTraining(config, USERS, simulated=True)
    per_example = make(engine.recommender, engine.schema.trainable)
    client = Client(3, history, ledger)
    members, deltas = training.deltas(
        per_example, random_adapter(engine.schema.trainable), [client], round_number
    )
    assert members == [3]
    return deltas[0]


def plain_loss(model, cut, which):
    inputs, targets = (torch.from_numpy(x[which : which + 1]) for x in (cut.inputs, cut.targets))
    own = dict(model.named_parameters())
    return window_loss(model, own, inputs, targets)


@pytest.mark.parametrize("make", ENGINES.values(), ids=list(ENGINES))
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("norm", [0.05, 100.0])
def test_equals_opacus_own_optimizer(engine, tiny_bert, make, norm):
    """Without noise; clipping every example, or none."""
    config = settings(tiny_bert, CENTRAL | {"example_clipping_norm": norm}, local_lr=0.5)
    ours = step(engine, config, make)
    model = copy.deepcopy(engine.recommender)
    install(model, engine.schema.trainable, random_adapter(engine.schema.trainable))
    wrapped = GradSampleModule(model)
    trained = [p for p in wrapped.parameters() if p.requires_grad]
    optimizer = DPOptimizer(
        torch.optim.SGD(trained, lr=0.5),
        noise_multiplier=0.0,
        max_grad_norm=norm,
        expected_batch_size=3,  # windows at the bound
    )
    cut = windows(LONG[:-2], LENGTH, 3)
    inputs, targets = torch.from_numpy(cut.inputs), torch.from_numpy(cut.targets)
    scores = wrapped(inputs)
    chosen = scores.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    counted = (targets >= 0).float()
    losses = ((torch.logsumexp(scores, -1) - chosen) * counted).sum(-1) / counted.sum(-1)
    losses.mean().backward()
    optimizer.step()
    expected = current(model, engine.schema.trainable) - random_adapter(engine.schema.trainable)
    assert expected.norm() > 0.01
    assert relative(ours, expected) < 1e-4


@pytest.mark.parametrize("make", ENGINES.values(), ids=list(ENGINES))
def test_equals_a_loop_over_examples(engine, tiny_bert, make):
    config = settings(tiny_bert, CENTRAL | {"example_clipping_norm": 0.5}, local_lr=0.5)
    model = copy.deepcopy(engine.recommender)
    install(model, engine.schema.trainable, random_adapter(engine.schema.trainable))
    cut = windows(LONG[:-2], LENGTH, 3)
    total = torch.zeros(engine.schema.trainable.dim)
    own = dict(model.named_parameters())
    for which in range(3):
        tensors = [own[name] for name in engine.schema.trainable.names]
        gradient = torch.autograd.grad(plain_loss(model, cut, which), tensors)
        flat = torch.cat([g.flatten() for g in gradient])
        total += flat * min(1.0, 0.5 / float(flat.norm()))
    assert relative(step(engine, config, make), -0.5 * total / 3) < 1e-4


def keep_windows(patch, rows):
    """Train on these windows alone. One history less an item would change a window's context, too:
    the unit is a window, as the privacy page says.
    """
    whole = windows(LONG[:-2], LENGTH, 3)
    kept = Windows(whole.inputs[rows], whole.targets[rows])
    patch.setattr("client.training.examples.user_windows", lambda history, config: kept)


@pytest.mark.parametrize("make", ENGINES.values(), ids=list(ENGINES))
def test_no_example_moves_the_update_by_more_than_its_clip(engine, tiny_bert, make, monkeypatch):
    config = settings(tiny_bert, CENTRAL | {"example_clipping_norm": 0.2}, local_lr=0.7)
    whole = step(engine, config, make)
    for rows in ([1, 2], [0, 2], [2]):
        with monkeypatch.context() as patch:
            keep_windows(patch, rows)
            fewer = step(engine, config, make)
        bound = (3 - len(rows)) * example_clip(config).norm
        assert 0.1 * bound < float((whole - fewer).norm()) <= bound * (1 + 1e-6)


@pytest.mark.statistical
@pytest.mark.parametrize("make", ENGINES.values(), ids=list(ENGINES))
def test_the_noise_has_its_law(engine, tiny_bert, make, tmp_path):
    """Standard deviation z lr C / B on every coordinate, independent over steps and rounds.

    Each p-value is uniform if the noise is right: two tests at 1e-6 and one at 1e-6 for each of
    two engines, so a false alarm in fewer than one in 100,000 runs. The noise is seeded: the
    outcome does not change from run to run.
    """
    privacy = LOCAL | {"example_clipping_norm": 1e-6}  # nothing but noise
    config = settings(tiny_bert, privacy, local_lr=0.5, local_steps=2)
    plan = device_plan(config, USERS)
    deltas = [
        step(engine, config, make, tmp_path / "ledger.jsonl", round_number=number).numpy()
        for number in (1, 2, 3)
    ]
    scale = plan.noise_multiplier * plan.clip.norm * math.sqrt(2)  # two steps
    drawn = np.concatenate(deltas) / scale
    assert stats.kstest(drawn, "norm").pvalue > 1e-6
    spread = stats.chi2.cdf((drawn**2).sum(), len(drawn))
    assert 5e-7 < spread < 1 - 5e-7
    assert stats.pearsonr(deltas[0], deltas[1]).pvalue > 1e-6
    # Negative control: half the noise, and noise that repeats, would be seen.
    assert stats.kstest(drawn / 2, "norm").pvalue < 1e-6
    assert stats.pearsonr(deltas[0], deltas[0]).pvalue < 1e-6


def test_an_empty_sample_still_gives_noise(engine, tiny_bert, tmp_path):
    config = settings(tiny_bert, LOCAL | {"example_sampling": 0.1})
    delta = step(engine, config, opacus_gradients, tmp_path / "ledger.jsonl", history=LONG[:0])
    assert delta.norm() > 0
    assert torch.isfinite(delta).all()


def test_users_have_noise_of_their_own(engine, tiny_bert, tmp_path):
    config = settings(tiny_bert, LOCAL)
    clients = [Client(user, LONG, tmp_path / f"{user}.jsonl") for user in (1, 2)]
    training = ExampleTraining(config, USERS, simulated=True)
    per_example = stacked_gradients(engine.recommender, engine.schema.trainable)
    members, deltas = training.deltas(
        per_example, random_adapter(engine.schema.trainable), clients, 1
    )
    assert members == [1, 2]
    assert (deltas[0] - deltas[1]).norm() > 0.5 * deltas[0].norm()


def test_a_real_device_never_repeats_its_noise(engine, tiny_bert, tmp_path):
    config = settings(tiny_bert, LOCAL)
    client = [Client(1, LONG, tmp_path / "ledger.jsonl")]
    training = ExampleTraining(config, USERS, simulated=False)
    per_example = opacus_gradients(engine.recommender, engine.schema.trainable)
    first, second = (
        training.deltas(per_example, random_adapter(engine.schema.trainable), client, 1)[1][0]
        for _ in range(2)
    )
    assert (first - second).norm() > 0.5 * first.norm()
    assert (tmp_path / "ledger.jsonl").read_bytes().count(b"\n") == 3  # header, and both count


def test_noise_without_a_ledger_is_refused(engine, tiny_bert):
    with pytest.raises(ConfigError, match="has none here"):
        step(engine, settings(tiny_bert, LOCAL), opacus_gradients)


def test_opacus_leaves_the_model_as_it_was(engine, tiny_bert):
    before = random_adapter(engine.schema.trainable, seed=9)  # another one than `step` trains from
    install(engine.recommender, engine.schema.trainable, before)
    step(engine, settings(tiny_bert, CENTRAL), opacus_gradients)
    assert (current(engine.recommender, engine.schema.trainable) == before).all()
    assert all(parameter.grad is None for parameter in engine.recommender.parameters())


def test_a_window_more_moves_the_histogram_by_at_most_one():
    cut = windows(LONG, LENGTH, 4)
    one, two = (example_histogram(windows(LONG[-n:], LENGTH, 4), ITEMS) for n in (8, 16))
    assert np.linalg.norm(one) == pytest.approx(1.0)
    assert np.linalg.norm(two - one) <= 1 + 1e-6
    assert np.linalg.norm(example_histogram(cut, ITEMS)) <= len(cut) * (1 + 1e-6)
    assert not example_histogram(windows(LONG[:0], LENGTH, 4), ITEMS).any()


@pytest.mark.parametrize("make", ENGINES.values(), ids=list(ENGINES))
def test_the_start_up_check_passes_where_training_works(engine, make):
    per_example = make(engine.recommender, engine.schema.trainable)
    check_gradients(per_example, engine.recommender, engine.schema.trainable, length=6)


def test_the_start_up_check_is_of_a_stack_too(engine):
    """Both fast ways, where every client has an adapter of its own and where all share one."""
    packed = PackedGradients(engine.recommender, engine.schema.trainable).by_window
    for per_example in (packed, stacked_gradients(engine.recommender, engine.schema.trainable)):
        check_gradients(
            per_example, engine.recommender, engine.schema.trainable, length=6, clients=2
        )

    def adapters_mixed(theta, inputs, targets):
        return packed(theta.mean(0, keepdim=True).expand_as(theta), inputs, targets)

    with pytest.raises(ModelError, match="of that window alone"):
        check_gradients(
            adapters_mixed, engine.recommender, engine.schema.trainable, length=6, clients=2
        )


FAULTS = {
    "one tensor never moves": lambda g, schema: zeroed(g, schema),
    "scaled by the batch": lambda g, schema: g * 2,
    "not finite": lambda g, schema: g / 0,
    # Sums that are right, of rows that are not: one window would move more than its clip.
    "rows swapped": lambda g, schema: g.flip(1),
    "rows averaged": lambda g, schema: g.mean(1, keepdim=True).expand_as(g),
    "a share moved": lambda g, schema: g + 0.05 * (g.flip(1) - g),
    "clients swapped": lambda g, schema: g.flip(0),
}


def zeroed(gradients, schema):
    gradients = gradients.clone()
    gradients[..., schema.slice_of(schema.names[0])] = 0
    return gradients


@pytest.mark.parametrize("fault", FAULTS)
def test_the_start_up_check_finds_what_would_not_learn(engine, fault):
    sound = stacked_gradients(engine.recommender, engine.schema.trainable)

    def faulty(theta, inputs, targets):
        return FAULTS[fault](sound(theta, inputs, targets), engine.schema.trainable)

    with pytest.raises(ModelError, match="adapter tensor"):
        check_gradients(faulty, engine.recommender, engine.schema.trainable, length=6, clients=2)


def test_the_start_up_check_names_a_tensor_without_gradient(tiny_bert):
    idle = make_engine(World(users=2, items=ITEMS), tiny_bert, hidden_scale=0.0)
    per_example = stacked_gradients(idle.recommender, idle.schema)
    with pytest.raises(ModelError, match=r"lora.*gets no gradient"):
        check_gradients(per_example, idle.recommender, idle.schema, length=6)


@pytest.mark.statistical
def test_examples_are_drawn_with_their_probability(engine, tiny_bert):
    """Rounds whose one window was drawn: binomial, false alarm below 1e-6; seeded, so fixed."""
    config = settings(tiny_bert, CENTRAL | {"example_sampling": 0.3})
    rounds, history = 150, LONG[:9]
    deltas = [
        step(engine, config, stacked_gradients, history=history, round_number=number)
        for number in range(rounds)
    ]
    drawn = sum(bool(delta.norm() > 0) for delta in deltas)
    assert stats.binomtest(drawn, rounds, 0.3).pvalue > 1e-6
    assert stats.binomtest(drawn, rounds, 1.0).pvalue < 1e-6  # everyone, always: would be seen


def test_rounding_to_the_adapters_size_adds_nothing(engine, tiny_bert, monkeypatch):
    """A small step from a large adapter: through theta and back the share would be rounded."""
    config = settings(tiny_bert, CENTRAL | {"example_clipping_norm": 0.1}, local_lr=1e-4)
    per_example = stacked_gradients(engine.recommender, engine.schema.trainable)
    training = ExampleTraining(config, USERS, simulated=True)
    large = 10 * random_adapter(engine.schema.trainable)
    deltas = []
    for rows in ([0, 1, 2], [1, 2]):
        keep_windows(monkeypatch, rows)
        delta = training.deltas(per_example, large, [Client(3, LONG, None)], 1)[1][0]
        deltas.append(delta.double())
    moved = float((deltas[0] - deltas[1]).norm()) / example_clip(config).norm
    assert 1 - 1e-3 < moved <= 1 + 1e-5  # clipped, so all of its share, and no more
