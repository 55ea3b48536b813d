"""A start that was named from where a run was started is found from elsewhere."""

import pytest
import torch

from shared.errors import ModelError
from simulations.engine.simulation import Simulation
from tests.support.federations import point_config
from tests.support.plain.lora import save_lora


def test_a_relative_start_is_where_the_run_was_started(tiny_bert, tmp_path, monkeypatch):
    save_lora(tiny_bert, tmp_path / "lora")
    start = {"start": "lora", "start_is_public": True, "lora_rank": 2, "lora_alpha": 4.0}
    targets = {"lora_targets": ["query", "value"], "layers": 0}
    config = point_config(tiny_bert, model={**start, **targets})
    monkeypatch.chdir(tmp_path)
    first = Simulation(config)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = Simulation(first.config, data=first.data)
    assert again.config.model.start_sha256 == first.config.model.start_sha256
    pairs = [
        torch.cat(
            [
                p.ravel()
                for name, p in each.engine(config.model).recommender.named_parameters()
                if ".lora_" in name
            ]
        )
        for each in (first, again)
    ]
    assert torch.equal(*pairs)
    with pytest.raises(ModelError, match="there is no such folder"):
        Simulation(config)
