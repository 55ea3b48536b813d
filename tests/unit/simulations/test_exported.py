"""What the results beside an adapter say of it: a real run's private metrics, and nothing exact."""

import dataclasses

import pytest
from safetensors.numpy import load_file

from server.up.begin import Asked, begin
from shared.errors import ConfigError, DataError, ModelError
from shared.model.start import refuse_on_devices
from shared.privacy.ledger.seal import digests, write_sealed
from shared.run_files import RunFolder
from simulations.exported import measured_of
from tests.support.federations import point_config
from tests.support.plain.lora import save_lora
from tests.support.running.released import films

RELEASED = {"value": 0.25, "low": 0.125, "high": 0.5, "standard_error": 0.1}


def sealed(folder, **point):
    """The folder of a real run of one point, as its server sealed it; its adapter."""
    run = RunFolder(folder)
    run.adapters.mkdir(parents=True)
    adapter = run.adapters / "p.safetensors"
    adapter.write_bytes(b"an adapter")
    points = [{"adapter": "adapters/p.safetensors", **point}]
    told = {"schema": 1, "name": "p", "data": {"users": 3}, "config": {}, "points": points}
    write_sealed(run.results, told, digests(run.path, [adapter]))
    return adapter


def test_of_a_real_run_the_last_private_metrics_are_told(tmp_path):
    first = RELEASED | {"value": 0.1}
    releases = [{"round": 1, "users": 2.0, "hr@10": first}, {"round": 2, "hr@10": RELEASED}]
    found = measured_of(sealed(tmp_path, released_metrics={"releases": releases}))
    assert (found.users, found.items, found.released) == (3, 0, True)
    assert [dataclasses.astuple(each) for each in found.figures] == [("hr@10", 0.25, 0.125, 0.5)]


def test_a_real_run_without_them_tells_none(tmp_path):
    found = measured_of(sealed(tmp_path, metrics={"hr@10": 0.5, "users": 3}))
    assert found.figures == ()


@pytest.mark.parametrize(
    "odd", [{"value": [], "low": 0, "high": 1}, {"value": "x", "low": 0, "high": 1}]
)
def test_figures_that_are_none_are_one_line(odd, tmp_path):
    adapter = sealed(tmp_path, released_metrics={"releases": [{"hr@10": odd}]})
    with pytest.raises(DataError, match="its metrics are none"):
        measured_of(adapter)


def test_where_nothing_is_beside_it_nothing_is_told(tmp_path):
    assert measured_of(tmp_path / "releases" / "3" / "adapter.safetensors") is None


def begun_from(lora, tiny_bert, rule="fedit"):
    start = {"start": str(lora), "start_is_public": True, "lora_rank": 2, "lora_alpha": 4.0}
    return point_config(
        tiny_bert,
        model={**start, "lora_targets": ["query", "value"], "layers": 0},
        federation={"aggregation": rule},
    )


def test_a_server_begins_from_a_lora_and_devices_need_not_have_it(tiny_bert, tmp_path):
    lora = save_lora(tiny_bert, tmp_path / "lora")
    config = begun_from(lora, tiny_bert)
    made = begin(tmp_path / "server", films(), config, [], Asked(40, 9092))
    initial = load_file(next(made.run.glob("points/*.initial.safetensors")))
    plain = load_file(lora / "adapter_model.safetensors")
    for name, tensor in plain.items():
        layer = name.removeprefix("base_model.model.").removesuffix(".weight")
        assert (initial[f"backbone.{layer}.default.weight"] == tensor).all()
    refuse_on_devices(config)


@pytest.mark.parametrize("rule", ["ffa", "fedsa"])
def test_where_devices_make_pairs_themselves_a_start_is_refused(rule, tiny_bert, tmp_path):
    """They would begin from others, and nobody would see it."""
    from client.device.resident import _built

    lora = save_lora(tiny_bert, tmp_path / "lora")
    config = begun_from(lora, tiny_bert, rule)
    with pytest.raises(ConfigError, match="does not go with"):
        begin(tmp_path / "server", films(), config, [], Asked(40, 9092))
    assert not (tmp_path / "server").exists()
    data = dataclasses.replace(config.data, catalogue=films().digest)
    with pytest.raises(ModelError, match="does not go with"):
        _built(films(), dataclasses.replace(config, data=data))
