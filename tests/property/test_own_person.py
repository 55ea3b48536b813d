"""What a person contributes is theirs alone: nobody else's leaving changes a bit of it.

Any small log, any one person taken off it or emptied; everybody else answers as before, under every
unit, trust, mechanism and rule, for every statistic, on a device of their own and in the cohort
engine. The number of people is public, so requests name the same one before and after.
"""

import dataclasses
import itertools
import string
from typing import get_args, get_type_hints

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.device.device import Device
from server.cohort.sampling import PoissonSampler
from server.exchange import Exchange
from shared.aggregation import rule_of
from shared.config import EngineConfig, FederationConfig, PrivacyConfig
from shared.data.catalogue import Catalogue
from shared.data.identifiers import appearance, normalised
from shared.data.log import InteractionLog
from shared.data.population import ChosenUsers, history_of
from shared.errors import ConfigError
from shared.model.adapter import current
from shared.privacy.contribution.evaluation import METRICS_CLIP
from shared.privacy.contribution.units import releases_metrics
from simulations.engine.cohort import CohortEngine
from simulations.engine.examples import device_ledger
from simulations.engine.ranking import personal_file
from simulations.flower.grid import key_of, nodes_of
from tests.support.asking import asked
from tests.support.federations import held, point_config
from tests.support.tiny import make_engine, random_adapter

ITEMS, USERS, ROUND, LENGTH = 30, 40, 2, 3
NAMES = tuple(f"item {n}" for n in range(ITEMS))
LETTERS = string.ascii_lowercase
TEXTS = tuple(
    f"item no {LETTERS[n % 26]}{LETTERS[n // 26]}" for n in range(ITEMS)
)  # words, so texts
CATALOGUE = Catalogue(NAMES, TEXTS)
PRIVACY, FEDERATION = get_type_hints(PrivacyConfig), get_type_hints(FederationConfig)
WORDS = (
    get_args(PRIVACY["unit"]),
    ("central", "distributed", "local"),
    get_args(PRIVACY["mechanism"]),
    get_args(FEDERATION["aggregation"]),
    (0.0, 0.5),  # a clip that adapts: each answer holds a bit
)
RELEASES = ("update", "histogram", "metrics", "ranks")


def config_of(backbone, case):
    """Batches smaller than what there is, and steps hidden: whatever is drawn shows."""
    unit, trust, mechanism, rule, adaptive = case
    noised = {"unit": unit, "trust": trust, "mechanism": mechanism, "adaptive_clipping": adaptive}
    federation = {"aggregation": rule, "cohort": 15.0 if trust == "distributed" else 4.0}
    if rule == "flexlora":
        federation["ranks"] = [1, 2]
    if unit != "user":
        noised["example_sampling"] = 0.5
    elif trust == "central":
        noised["metrics_share"] = 0.1
    return point_config(
        backbone,
        data={"negatives": 6},
        model={"max_length": LENGTH},
        train={
            "local_batch": 1 if unit == "user" else 0,
            "local_steps": 1 if unit != "user" and trust == "central" else 2,
            "max_windows": 3,
            "history_dropout": 0.3 if unit == "user" else 0.0,
        },
        federation=federation,
        privacy={"epsilon": 8.0, "delta": 1e-3, **noised},
    )


def accepted():
    """Decided without a model: the folder of the backbone is not opened by settings."""
    for case in itertools.product(*WORDS):
        try:
            config_of("backbone", case)
        except ConfigError:
            continue
        yield case


CASES = list(accepted())


def test_every_word_takes_part():
    for number, words in enumerate(WORDS):
        assert {case[number] for case in CASES} == set(words)


class Federation:
    """Models of the catalogue, in which no log has a part; what people of a log answer."""

    def __init__(self, backbone, folder):
        self.backbone, self.folder = backbone, folder
        self.runs = itertools.count()
        self.recommenders = {}

    def config(self, case):
        return config_of(self.backbone, case)

    def recommender(self, config):
        factors = config.model.factors
        if factors not in self.recommenders:
            nobody = log_of({"nobody": []})
            made = make_engine(nobody, self.backbone, factors=factors, max_length=LENGTH)
            self.recommenders[factors] = made.recommender
        return self.recommenders[factors]

    def engine(self, population, config, micro_batch=1):
        settings = EngineConfig(device="cpu", micro_batch=micro_batch)
        return CohortEngine(population, self.recommender(config), settings)

    def requests(self, engine, config, release, nodes):
        """A round's requests and to whom each goes: where ranks differ, so do requests."""
        rule, schema = rule_of(config), engine.schema
        clip = 0.5 if config.privacy.adaptive_clipping and release == "update" else 0.0
        plain = asked(config, release, ROUND, users=USERS, clip=clip)
        own = schema.split(current(engine.recommender, schema).numpy())
        arrays = schema.split(random_adapter(schema).numpy())
        arrays |= {name: own[name] for name in held(rule, schema.names)}
        exchange = Exchange(rule, schema, ROUND, nodes)
        if release == "update":
            return exchange.addressed(plain, arrays)
        return [(dataclasses.replace(plain, arrays=exchange.down(arrays, None)), nodes)]

    def answers(self, population, config, release, ask):
        """What everybody answers, by identifier: `ask` one or many of them."""
        state = self.folder / str(next(self.runs)) / "devices" / "point"
        engine = self.engine(population, config)
        found = {}
        for request, nodes in self.requests(engine, config, release, nodes_of(population)):
            keys = [key_of(node) for node in nodes]
            for key, answer in ask(engine, request, keys, state):
                found[population.user_id(population.user_of(key))] = bits(answer)
        return found


def by_devices(engine, request, keys, state):
    """Everyone on a device of their own."""
    for key in keys:
        history = history_of(engine.population, key)
        ledger, own = device_ledger(state, key), personal_file(state)
        device = Device(history, key, engine.recommender, ledger, personal=own, simulated=True)
        yield key, device.answer(request)


def by_engine(engine, request, keys, state):
    """One after the other in the cohort engine."""
    for (key,), answer in engine.answer(request, keys, state):
        yield key, answer


def bits(answer):
    """All that an answer says, to the last bit."""
    plain = dataclasses.asdict(answer)
    return {
        name: value.tobytes() if isinstance(value, np.ndarray) else value
        for name, value in plain.items()
    }


def log_of(histories, people=None):
    rows = [
        (user, NAMES[item], time)
        for user, items in histories.items()
        for time, item in enumerate(items)
    ]
    frame = pd.DataFrame(rows, columns=["user", "item", "timestamp"])
    return InteractionLog(frame, CATALOGUE, users=tuple(people or histories))


def without(histories, gone, how):
    """The log after somebody left it, or their data did and their slot stayed, or turned."""
    if how == "turned":
        return log_of(histories, [*histories][::-1])
    rest = {user: items for user, items in histories.items() if user != gone}
    return log_of(rest, histories if how == "emptied" else None)


HIDING_PEOPLE = [case for case in CASES if case[0] == "user" and case[1] == "central"]


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("ask", ["devices", "engine"])
@pytest.mark.parametrize("case", HIDING_PEOPLE, ids=str)
def test_who_has_nothing_contributes_nothing(federation, case, ask, decay):
    """Neither weight decay, nor a bit: a person's data are worth one clip, no more."""
    population = log_of({"a": [1, 2, 3, 4, 5], "nobody": [], "one": [7]}, ["a", "nobody", "one"])
    config = federation.config(case)
    config = dataclasses.replace(
        config, train=dataclasses.replace(config.train, weight_decay=decay)
    )
    asking = {"devices": by_devices, "engine": by_engine}[ask]
    for release in ("update", "histogram", "metrics"):
        if release == "metrics" and not releases_metrics(config):
            continue
        found = federation.answers(population, config, release, asking)
        for user in ("nobody", "one") if release == "metrics" else ("nobody",):
            assert not np.frombuffer(found[user]["vector"], dtype=np.float32).any(), release
            assert (found[user]["norm"], found[user]["bits"]) == (0.0, 0.0), release
        if release == "update":
            assert np.frombuffer(found["a"]["vector"], dtype=np.float32).any()
            assert abs(found["a"]["bits"]) == (0.5 if config.privacy.adaptive_clipping else 0.0)


ids = st.text(min_size=1, max_size=4).map(normalised).filter(appearance)  # as a log has them
items = st.lists(st.integers(0, ITEMS - 1), max_size=ITEMS - 5, unique=True)
logs = st.dictionaries(ids, items, min_size=2, max_size=4).filter(
    lambda histories: len({appearance(user) for user in histories}) == len(histories)
)


@pytest.fixture(scope="module")
def federation(tiny_bert, tmp_path_factory):
    return Federation(tiny_bert, tmp_path_factory.mktemp("runs"))


def moved(federation, histories, gone, how, case, release, ask):
    """Whose answers somebody else's going changed."""
    config = federation.config(case)
    if release == "metrics" and not releases_metrics(config):
        release = "ranks"  # the same, as an evaluator is told it
    before = federation.answers(log_of(histories), config, release, ask)
    after = federation.answers(without(histories, gone, how), config, release, ask)
    assert set(before) - {gone} == set(after) - {gone}
    return [user for user in after if user != gone and after[user] != before[user]]


@settings(max_examples=25)
@given(
    histories=logs,
    who=st.integers(0, 3),
    how=st.sampled_from(["removed", "emptied", "turned"]),
    case=st.sampled_from(CASES),
    release=st.sampled_from(RELEASES),
    ask=st.sampled_from([by_devices, by_engine]),
)
def test_nobody_else_moves(federation, histories, who, how, case, release, ask):
    gone = list(histories)[who % len(histories)]
    assert moved(federation, histories, gone, how, case, release, ask) == []


# One log and case for each thing that is drawn or assigned. With the place in the log for a key, as
# it once was, somebody else's answer follows whoever stood before them.
FIRST = {
    "ana": [1, 2, 3, 4, 5],
    "ben": [6, 7, 8, 9, 10, 11, 12, 13],
    "cyd": [3, 1, 4, 15, 9, 2, 6, 5, 8],
}
USER = ("user", "central", "gaussian", "fedit", 0.0)
DRAWN = {
    "negatives of metrics": (USER, "metrics"),
    "negatives of ranks": (USER, "ranks"),
    "batches and hidden steps": (USER, "update"),
    "the clip's bits": ((*USER[:4], 0.5), "update"),
    "correlated noise": (("user", "central", "dp_ftrl", "fedit", 0.0), "update"),
    "shares of noise": (("user", "distributed", "gaussian", "ffa", 0.0), "update"),
    "shares of a histogram's noise": (("user", "distributed", "gaussian", "ffa", 0.0), "histogram"),
    "samples of examples": (("example", "central", "gaussian", "fedit", 0.0), "update"),
    "both units": (("both", "central", "gaussian", "fedit", 0.0), "update"),
    "noise on devices": (("example", "local", "gaussian", "fedit", 0.0), "update"),
    "a histogram's noise on devices": (("example", "local", "gaussian", "ffa", 0.0), "histogram"),
    "ranks of factors": (("user", "central", "gaussian", "flexlora", 0.0), "update"),
    "tensors of one's own": (("user", "central", "gaussian", "fedsa", 0.0), "update"),
}


def by_place(user_ids, name):
    """The planted fault: a person's key is their place among those who are there."""
    return {place: place for place, _ in enumerate(user_ids)}


@pytest.mark.parametrize("ask", [by_devices, by_engine])
@pytest.mark.parametrize("drawn", DRAWN)
def test_by_place_somebody_else_moves(drawn, ask, federation, monkeypatch):
    """By key nobody does: and the property above sees it where somebody would."""
    case, release = DRAWN[drawn]
    arguments = (federation, FIRST, "ana", "removed", case, release, ask)
    assert moved(*arguments) == []
    monkeypatch.setattr("shared.data.log.keys_of", by_place)
    assert moved(*arguments) != []


def test_in_a_batch_nobody_else_moves_but_by_rounding(federation):
    """Who is computed together decides the order of float32 sums, and nothing else."""
    config = federation.config(USER)
    found = []
    for population in (log_of(FIRST), without(FIRST, "ana", "removed")):
        engine = federation.engine(population, config, micro_batch=0)
        ((request, _),) = federation.requests(engine, config, "update", nodes_of(population))
        answers = engine.answer(request, population.keys)
        found.append({members[0]: update.vector for members, update in answers})
    before, after = found
    assert len(after) == 2
    for key, vector in after.items():
        np.testing.assert_allclose(vector, before[key], atol=1e-6)


def cohorts(population):
    """Who is asked, by identifier, at one probability."""
    sampler, nodes = PoissonSampler(USERS / 3, USERS, seed=4), nodes_of(population)
    drawn = [sampler.draw(number, nodes) for number in range(9)]
    return [{population.user_id(population.user_of(key_of(n))) for n in some} for some in drawn]


MANY = {f"user {n}": [(n + step) % ITEMS for step in range(8)] for n in range(30)}


@given(logs, st.integers(0, 3))
def test_nobody_elses_turn_moves(histories, who):
    gone = list(histories)[who % len(histories)]
    before, after = (cohorts(log) for log in (log_of(histories), without(histories, gone, "gone")))
    assert [some - {gone} for some in before] == after


def test_by_place_somebody_elses_turn_moves(monkeypatch):
    def moving():
        before, after = (cohorts(log) for log in (log_of(MANY), without(MANY, "user 0", "gone")))
        return [some - {"user 0"} for some in before] != after

    assert not moving()
    monkeypatch.setattr("shared.data.log.keys_of", by_place)
    assert moving()


def chosen(histories, gone, how):
    """Which twenty `data.users` takes, before and after."""
    logs = log_of(histories), without(histories, gone, how)
    return [{one.user_id(user) for user in range(20)} for one in (ChosenUsers(x, 20) for x in logs)]


@pytest.mark.parametrize("gone", MANY)
def test_of_those_who_are_chosen_one_leaves_and_one_comes(gone):
    before, after = chosen(MANY, gone, "removed")
    assert before - after == before & {gone}
    assert len(after - before) == (gone in before)
    before, after = chosen(MANY, gone, "emptied")
    assert before == after  # whose data are gone keeps the slot


def test_the_sum_of_private_metrics_moves_by_one_persons_contribution(federation, monkeypatch):
    """By a multiple of the sensitivity that the noise is for, where negatives go by the place."""
    config = federation.config(USER)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, negatives=15))
    rng = np.random.default_rng(0)
    people = {f"user {n}": rng.permutation(ITEMS)[:6].tolist() for n in range(300)}

    def change():
        sums = []
        for population in (log_of(people), without(people, "user 0", "removed")):
            engine = federation.engine(population, config, micro_batch=0)
            ((request, _),) = federation.requests(engine, config, "metrics", nodes_of(population))
            request = dataclasses.replace(request, merge=True)
            ((_, update),) = engine.answer(request, population.keys)
            sums.append(update.vector.astype(np.float64))
        return np.linalg.norm(np.subtract(*sums)) / METRICS_CLIP.norm

    assert change() <= 1 + 1e-6
    monkeypatch.setattr("shared.data.log.keys_of", by_place)
    assert change() > 1.25
