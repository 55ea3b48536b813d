"""Selection under every rule that turns coordinates: released is the iterate that was measured."""

import numpy as np
import pytest
from flwr.app import MessageType
from safetensors.numpy import load_file, save_file

from client.messages import update_reply
from server import round as round_module
from server.federation import run_federation
from shared.aggregation import RULES
from shared.privacy.contribution.evaluation import METRICS_SCHEMA, metric_contributions
from shared.run_files import run_files
from shared.update import Update
from tests.support.clients import SCHEMA, global_adapter
from tests.unit.server.test_round import Canned, flat, settings

pytestmark = pytest.mark.usefixtures("flower")

METRICS, ROUNDS, BEST = "query.metrics", 4, 2
INITIAL = {name: array.copy() for name, array in SCHEMA.split(global_adapter()).items()}


class Measured(Canned):
    """Clients that send anything, and rank best under the iterate of one round."""

    def __init__(self):
        super().__init__()
        self.measured = {}  # round -> the adapter that was measured

    def good(self, message, request, vector=None):
        node = message.metadata.dst_node_id
        if message.metadata.message_type == METRICS:
            self.measured[request.round_number] = flat(request.arrays)
            vector = metric_contributions([0 if request.round_number == BEST else 90])[0]
            norm = float(np.linalg.norm(vector.astype(np.float64)))
            return update_reply(message, Update(vector, 1.0, norm, METRICS_SCHEMA), [node])
        if message.metadata.message_type == MessageType.TRAIN:
            names = RULES[request.config.federation.aggregation].trained(
                SCHEMA.names, request.round_number
            )
            rng = np.random.default_rng((node, request.round_number))
            vector = rng.normal(size=SCHEMA.subset(names).dim).astype(np.float32)
            vector /= np.linalg.norm(vector) * 1.01
        return super().good(message, request, vector)


class Crash(Exception):
    """Stands for the end of the process."""


def released(folder, config, patch, crash=False):
    """What a run released, its outcome, and what was measured of it."""
    files, grid = run_files(folder, "p"), Measured()
    for path in (files.initial, files.adapter):
        path.parent.mkdir(parents=True, exist_ok=True)
    save_file(INITIAL, files.initial)
    if crash:
        save = round_module.save

        def failing(state, file):
            save(state, file)
            if state.round_number == BEST + 1:
                raise Crash

        with patch.context() as planted:
            planted.setattr(round_module, "save", failing)
            with pytest.raises(Crash):
                run_federation(grid, config, files, simulated=True)
    outcome = run_federation(grid, config, files, simulated=True)
    return load_file(files.adapter), outcome, grid.measured


@pytest.mark.parametrize("rule", ["alternating", "fedsvd", "flexlora"])
def test_what_is_released_is_what_was_measured(rule, tmp_path, monkeypatch):
    federation = {"aggregation": rule, "rounds": ROUNDS, "cohort": 1.0, "metrics_every": 1}
    config = settings(
        40.0,
        federation=federation | {"select": "private_metric", "beta_1": 0.9, "average_last": 0.6},
        privacy={"metrics_share": 0.8},
        model={"lora_rank": 3},
    )
    whole, outcome, measured = released(tmp_path / "whole", config, monkeypatch)
    assert outcome["released_metrics"]["selected_round"] == BEST
    np.testing.assert_array_equal(flat(whole), measured[BEST])
    assert all(np.abs(flat(whole) - measured[n]).max() > 1e-3 for n in measured if n != BEST)
    again, _, _ = released(tmp_path / "crash", config, monkeypatch, crash=True)
    assert all(np.array_equal(again[name], array) for name, array in whole.items())
