"""A whole run: FedSVD under momentum and averaged iterates walks as FFA with an orthonormal A."""

import math

import numpy as np
import pytest
from safetensors.numpy import load_file

from shared.aggregation import RULES, Carried
from shared.model.adapter import current, install
from simulations.flower.grid import CohortGrid
from simulations.world.world import World
from tests.support.factors import products
from tests.support.federations import federate, point_config, prepare
from tests.support.tiny import make_engine, relative

pytestmark = pytest.mark.usefixtures("flower")

FEDERATION = {
    "rounds": 4,
    "server_optimizer": "fedavgm",
    "server_lr": 1.0,
    "beta_1": 0.6,
    "average_last": 0.6,
    "evaluate_every": 0,
}


def test_coordinates_do_not_change_the_walk(tiny_bert, tmp_path, monkeypatch):
    """Steps of SGD, momentum and means know no coordinates, so neither does what is released."""
    engine = make_engine(World(users=15, items=40), tiny_bert)
    schema, where = engine.schema, current(engine.recommender, engine.schema).numpy()
    own = RULES["fedsvd"].refactor(schema, Carried(where.astype(np.float64), {}, {})).adapter
    install(engine.recommender, schema, current(engine.recommender, schema).new_tensor(own))
    runs = {}
    for rule in ("ffa", "fedsvd"):
        config = point_config(
            tiny_bert,
            epsilon=math.inf,
            train={"local_steps": 2, "local_lr": 0.2},
            federation=FEDERATION | {"aggregation": rule},
        )
        prepare(tmp_path / rule, engine, rule=RULES["ffa"])  # the same start
        runs[rule] = federate(tmp_path / rule, CohortGrid(engine), config, monkeypatch)
    found, expected = (products(schema, runs[rule].adapter) for rule in ("fedsvd", "ffa"))
    start = products(schema, schema.join(load_file(runs["ffa"].files.initial)))
    for ours, theirs, before in zip(found, expected, start, strict=True):
        assert relative(ours, theirs) < 1e-5
        assert relative(theirs, before) > 1e-2  # it walked
    assert relative(runs["fedsvd"].adapter, runs["ffa"].adapter) > 0.1  # in other coordinates
