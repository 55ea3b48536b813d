"""Real deployments of six devices in this process, and what they left."""

import pytest

from client.device.local import _log, _recommender, device_of
from server.federation import run_federation
from tests.support.federations import point_config
from tests.support.running.nodes import USERS, Loopback, Node, served


@pytest.fixture(scope="session")
def deploy(tiny_bert, tmp_path_factory, own_folders, flower):
    """A finished run over real devices under some settings: its folder."""

    def run(**privacy):
        folder = tmp_path_factory.mktemp("deployed")
        rows = [f"u{u},{'abcdefgh'[(u + t) % 8]},{t}" for u in range(USERS) for t in range(6)]
        (folder / "interactions.csv").write_text("\n".join(["user,item,timestamp", *rows, ""]))
        items = "\n".join(f"{i},Text of {i}" for i in "abcdefgh")
        (folder / "items.csv").write_text(f"item,text\n{items}\n")
        federation = {"rounds": 2, "cohort": 1.0}
        config = point_config(tiny_bert, federation=federation, privacy={"delta": 1e-2} | privacy)
        nodes = [Node(folder, str(folder), user) for user in range(USERS)]
        model = device_of(nodes[0].config, config).schema
        (folder / "run").mkdir()
        run_federation(Loopback(nodes), config, served(folder / "run", model), simulated=False)
        _log.cache_clear()
        _recommender.cache_clear()
        return folder / "run"

    return run


@pytest.fixture(scope="session")
def deployed(deploy):
    """Not to be altered: copy it."""
    return deploy()
