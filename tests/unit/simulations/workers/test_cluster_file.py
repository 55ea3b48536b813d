"""The cluster file of the documentation is one that Ray takes."""

import pytest
import yaml

from tests.support import ROOT

FILE = ROOT / "docs" / "cluster.yaml"


def checked(text):
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load(text))
    validate_config(config)
    return config


def test_ray_takes_the_cluster_file():
    config = checked(FILE.read_text())
    nodes = config["available_node_types"]["local.cluster.node"]
    assert nodes["min_workers"] == nodes["max_workers"] == len(config["provider"]["worker_ips"])
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        start = config[commands][-1]
        assert "ray start" in start
        assert "STARLING_DATA=" in start
        assert "RAY_USAGE_STATS_ENABLED=0" in start
        assert "\n" not in start.strip()


def test_a_setting_that_ray_does_not_know_is_seen():
    from jsonschema.exceptions import ValidationError

    with pytest.raises(ValidationError):
        checked(FILE.read_text() + "\nstart_ray_commands: []\n")
