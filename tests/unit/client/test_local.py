"""A node's own configuration names its data and its user."""

import pytest

from client.local import _log, _recommender, device_of
from shared.errors import ConfigError, DataError
from tests.support.federations import point_config


@pytest.fixture
def log(tmp_path):
    rows = [f"{user},{item},{time}" for user in "uv" for time, item in enumerate("abcd")]
    (tmp_path / "interactions.csv").write_text("\n".join(["user,item,timestamp", *rows, ""]))
    items = "\n".join(f"{i},Text of {i}" for i in "abcdef")
    (tmp_path / "items.csv").write_text(f"item,text\n{items}\n")
    yield str(tmp_path)
    _log.cache_clear()
    _recommender.cache_clear()


@pytest.fixture
def config(tiny_bert):
    return point_config(tiny_bert)


def test_a_user_by_name_or_by_partition(log, config):
    named = device_of({"data": log, "user": "v"}, config)
    placed = device_of({"data": log, "partition-id": 1}, config)
    assert named.user == placed.user == 1
    assert named.history.tolist() == [0, 1, 2, 3]
    assert named.recommender is placed.recommender  # built once


@pytest.mark.parametrize(
    ("node", "message"),
    [({}, "data is missing"), ({"data": "LOG"}, "user is missing")],
    ids=["no data", "no user"],
)
def test_an_incomplete_node_is_refused(node, message, log, config):
    node = {name: log if value == "LOG" else value for name, value in node.items()}
    with pytest.raises(ConfigError, match=message):
        device_of(node, config)


def test_an_unknown_user_is_refused(log, config):
    with pytest.raises(DataError, match="'w'"):
        device_of({"data": log, "user": "w"}, config)
