"""Only a simulated grid makes noise repeatable: no setting does."""

from types import SimpleNamespace

import pytest
from flwr.app import Context, RecordDict

import server.app
from shared.config import dump_toml
from tests.support.federations import point_config


class Stopped(Exception):
    pass


@pytest.mark.parametrize(("grid", "seeded"), [({}, False), ({"simulated": True}, True)])
def test_the_grid_decides_whether_noise_is_seeded(grid, seeded, tiny_bert, tmp_path, monkeypatch):
    told = {}

    def stop(grid, config, files, *, simulated, on_round, policy):
        told["simulated"] = simulated
        raise Stopped

    monkeypatch.setattr(server.app, "run_federation", stop)
    settings = tmp_path / "point.toml"
    settings.write_text(dump_toml(point_config(tiny_bert)))
    run = {"config": str(settings), "directory": str(tmp_path), "name": "x", "simulated": True}
    context = Context(1, 1, {}, RecordDict(), run)
    with pytest.raises(Stopped):
        server.app.main(SimpleNamespace(**grid), context)
    assert told == {"simulated": seeded}
