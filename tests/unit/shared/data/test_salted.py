"""A digest of data tells those who have its salt whether they changed, and nobody else."""

import json

import pytest

from shared.data.salted import SaltedDigest
from shared.errors import ConfigError
from simulations.world.world import World


def test_it_tells_other_data_apart():
    kept = SaltedDigest.of(World(users=3))
    kept.check(World(users=3))
    assert not kept.matches(World(users=4))
    with pytest.raises(ConfigError, match="not the data that the run started with"):
        kept.check(World(users=4))


def test_without_the_salt_it_cannot_be_tried():
    first, second = (SaltedDigest.of(World(users=3)) for _ in range(2))
    assert len(bytes.fromhex(first.salt)) == 32
    assert first.salt != second.salt
    assert len({first.digest, second.digest, World(users=3).digest}) == 3


def test_a_run_keeps_the_first(tmp_path):
    file = tmp_path / "data.json"
    first = SaltedDigest.of(World(users=3))
    first.keep(file)
    SaltedDigest.of(World(users=4)).keep(file)
    assert SaltedDigest.read(file) == first
    file.write_text(json.dumps({"digest": first.digest}))
    with pytest.raises(ConfigError, match="salt is missing"):
        SaltedDigest.read(file)
