"""What an update tells of its person's items, in the views that a run has."""

import dataclasses
import math

import numpy as np
import pytest

from shared.aggregation import rule_of
from shared.config import from_dict, to_dict
from shared.errors import ConfigError
from shared.model.adapter import current
from shared.privacy.contribution.histogram import user_histogram
from simulations.audit.attacks.order import orders
from simulations.audit.attacks.reconstruction import (
    by_histogram,
    findings,
    leaks,
    readers,
    trained_items,
)
from simulations.audit.attacks.updates import updates_of
from simulations.audit.attacks.views import View, alone, in_shares, noised, promised_inside
from tests.support.auditing.audited import at, simulated

USERS, TARGETS = 120, 80


@pytest.fixture(scope="module")
def world(tiny_bert):
    return simulated(tiny_bert, USERS)


class Scene:
    """What everyone sends in the first round of a point."""

    def __init__(self, world, epsilon=math.inf, **privacy):
        point = at(world, epsilon)
        if privacy:
            changed = dataclasses.replace(point.privacy, **privacy)
            point = dataclasses.replace(point, privacy=changed)
        self.point, self.engine = point, world.engine(point.model)
        self.keys, self.items = list(world.users), len(world.population.catalogue)
        self.adapter = current(self.engine.recommender, self.engine.schema).double().numpy()
        self.sent = updates_of(self.engine, point, self.keys, self.adapter)
        self.mine = trained_items(self.engine, point)
        self.ways = readers(self.engine, point)

    def found(self, views, sent=None, ways=None):
        sent, ways = self.sent if sent is None else sent, ways or self.ways
        return leaks(sent, self.mine, self.items, views, ways, targets=TARGETS)


@pytest.fixture(scope="module")
def clear(world):
    return Scene(world)


@pytest.fixture(scope="module")
def private(world):
    return Scene(world, 1.0, delta=1e-9)  # which leaves risk to decide with


def told(scene, *views):
    return {(leak.view, leak.channel): leak for leak in scene.found(views)}


def test_one_update_lists_its_persons_items(clear):
    found = told(clear, View("one", 1, alone))
    bias = found["one", "item bias"]
    assert bias.top.value == 1
    assert bias.own > 0.9 > 2 * bias.popular
    chosen, before = (found["one", f"core, what {word}"] for word in ("was chosen", "came before"))
    assert min(chosen.own, before.own) > 0.75 > bias.popular + 0.3
    assert bias.top_without.value < 0.6  # of an update of zeros


def test_a_core_tells_what_was_chosen_from_what_came_before(clear):
    model = clear.engine.recommender
    texts = (model.items @ model.basis).double().numpy()
    trained = clear.engine.schema.subset(rule_of(clear.point).trained(clear.engine.schema.names, 1))
    seen = np.zeros((1, trained.dim))
    seen[:, trained.slice_of("core.weight")] = np.outer(texts[5], texts[70]).ravel()
    assert clear.ways["core, what was chosen"](seen).argmax() == 5
    assert clear.ways["core, what came before"](seen).argmax() == 70


def test_the_longest_rows_are_those_of_the_items(tiny_bert, world):
    model = dataclasses.replace(world.config.model, item_rank=4, item_bias=False)
    federation = dataclasses.replace(world.config.federation, popularity_start=False)
    point = dataclasses.replace(at(world), model=model, federation=federation)
    engine = world.engine(model)
    adapter = current(engine.recommender, engine.schema).double().numpy()
    sent = updates_of(engine, point, list(world.users), adapter)
    ways = readers(engine, point)
    assert "item bias" not in ways
    found = leaks(sent, trained_items(engine, point), 120, [View("one", 1, alone)], ways)
    rows = next(leak for leak in found if leak.channel == "item rows")
    assert rows.own > 0.85


def test_a_sum_hides_the_more_the_more_are_in_it(clear):
    found = told(clear, *(View(str(n), n, alone) for n in (1, 5, USERS)))
    own = [found[str(n), "item bias"].own for n in (1, 5, USERS)]
    assert own[0] > own[1] + 0.2 > own[2]
    with pytest.raises(ConfigError, match="of 121 people: expected 1 to 120"):
        told(clear, View("too many", USERS + 1, alone))


def test_under_noise_nothing_is_found_and_the_claim_holds(private):
    promised = promised_inside(private.point, USERS)
    opened = noised(private.point, USERS, "update")
    # Who knows everybody else's sees one person's with the noise of the sum.
    views = [View("released", USERS, opened, promised), View("others known", 1, opened, promised)]
    found = private.found(views)
    assert len(found) == 6
    for leak in found:
        assert leak.top.low < leak.top_without.high
        assert leak.own < leak.popular + 0.1
    assert [finding.verdict for finding in findings(found, views)] == ["holds"] * len(found)


def test_a_sum_that_is_claimed_to_be_noised_and_is_not_is_flagged(private):
    promised = promised_inside(private.point, USERS)
    views = [View("released", 1, alone, promised)]
    verdicts = {f.name: f.verdict for f in findings(private.found(views), views)}
    assert verdicts["reconstruction, item bias, released"] == "violated"


def test_a_histogram_is_its_persons_items_and_a_noised_sum_of_them_is_not(private):
    shares = np.stack(
        [user_histogram(private.engine.population.history(key), 120) for key in private.keys]
    )
    promised = promised_inside(private.point, USERS)
    views = [
        View("one", 1, alone),
        View("released", USERS, noised(private.point, USERS, "histogram"), promised),
    ]
    one, released = private.found(views, shares, {"histogram": by_histogram})
    assert one.own == 1
    assert released.top.low < released.top_without.high
    assert [f.verdict for f in findings([one, released], views)] == ["not shown", "holds"]


def test_noise_in_shares_hides_a_person_as_well(private):
    tree = to_dict(private.point)
    tree["privacy"]["trust"] = "distributed"
    shared = from_dict(tree)
    promised = promised_inside(shared, USERS)
    assert promised is not None
    assert promised.trust == "distributed"
    views = [View("opened", USERS, in_shares(shared, USERS, "update"), promised)]
    found = leaks(
        private.sent, private.mine, private.items, views, private.ways, targets=12, confidence=0.9
    )
    for leak in found:
        assert leak.top.low < leak.top_without.high
    assert {f.verdict for f in findings(found, views)} <= {"holds", "not shown"}


def test_the_order_is_found_from_an_update_and_not_from_noise(clear, private):
    short = [row for row, mine in enumerate(clear.mine) if 4 <= len(mine) <= 7][:3]
    keys = [clear.keys[row] for row in short]
    found = orders(clear.engine, clear.point, clear.adapter, clear.sent[short], keys)
    assert found.tau > 0.9 > 0.5 > abs(found.start)
    noise = np.random.default_rng(0).normal(size=clear.sent[short].shape)
    lost = orders(clear.engine, clear.point, clear.adapter, noise, keys)
    assert lost.tau < 0.7


def test_nothing_is_promised_inside_a_sum_that_rests_on_a_secret_cohort(private):
    federation = dataclasses.replace(private.point.federation, cohort=0.5)
    sampled = dataclasses.replace(private.point, federation=federation)
    assert promised_inside(sampled, USERS) is None
    assert promised_inside(private.point, USERS) is not None
    local = dataclasses.replace(private.point.privacy, unit="example", trust="local")
    assert promised_inside(dataclasses.replace(private.point, privacy=local), USERS) is None
    with pytest.raises(ConfigError, match="release 'update': the server adds no noise"):
        noised(dataclasses.replace(private.point, privacy=local), USERS, "update")
