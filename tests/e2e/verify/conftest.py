"""Real deployments of six devices in this process, and what they left."""

import shutil

import pytest
import torch
from safetensors.numpy import load_file, save_file

import client.device.agreement
import server.federation
from server.federation import run_federation
from server.release.moments import TABLES
from shared.data.attributes import WIDTHS
from shared.model.affinities import MOMENTS, TEXT, initial_mix
from shared.run_files import run_files
from tests.support.federations import point_config
from tests.support.running.nodes import USERS, Loopback, Node, schema_of, served


def as_prepared(adapter):
    """With the numbers that nothing trains as every run begins with them."""
    tables = {name: adapter[name] * 0 for name in TABLES if name in adapter}
    own = [MOMENTS] if tables else []
    blocks = [TEXT, *WIDTHS][: len(adapter["mix.weight"]) - len(own)] + own
    return adapter | tables | {"mix.weight": initial_mix(blocks, torch.eye(9)[:4]).numpy()}


class Deployment:
    """Runs over six real devices, each in a folder of its own unless one is continued."""

    def __init__(self, backbone, folders):
        self.backbone, self.folders, self.folder = backbone, folders, None

    def __call__(self, again=False, on_round=lambda entry: None, **privacy):
        """The run's folder."""
        if not again:
            self.folder = self._log()
        folder = self.folder
        federation = {"rounds": 2, "cohort": 1.0}
        told = {"delta": 1e-2} | privacy
        config = point_config(self.backbone, federation=federation, privacy=told)
        nodes = [Node(folder, str(folder), user) for user in range(USERS)]
        files = run_files(folder / "run", "p")
        if not again:
            files = served(folder / "run", schema_of(folder, config))
            save_file(as_prepared(load_file(files.initial)), files.initial)
        with pytest.MonkeyPatch.context() as patch:
            # A histogram too, as where something adds them up before the server sees one.
            patch.setattr(client.device.agreement, "in_clear", lambda release, promised: "")
            patch.setattr(server.federation, "histogram_in_clear", lambda config: False)
            run_federation(Loopback(nodes), config, files, simulated=False, on_round=on_round)
        return folder / "run"

    def _log(self):
        folder = self.folders.mktemp("deployed")
        rows = [f"u{u},{'abcdefgh'[(u + t) % 8]},{t}" for u in range(USERS) for t in range(6)]
        (folder / "interactions.csv").write_text("\n".join(["user,item,timestamp", *rows, ""]))
        items = "\n".join(f"{i},Text of {i * 3}" for i in "abcdefgh")
        (folder / "items.csv").write_text(f"item,text\n{items}\n")
        (folder / "run").mkdir()
        return folder


@pytest.fixture(scope="session")
def deploy(tiny_bert, tmp_path_factory, own_folders, flower):
    """Call it with settings of `privacy`."""
    return Deployment(tiny_bert, tmp_path_factory)


@pytest.fixture(scope="session")
def deployed(deploy):
    """Not to be altered: copy it."""
    return deploy()


@pytest.fixture
def folders(run, deployed, tmp_path):
    """A copy of a run's folder, by kind."""
    whole = {"simulated": run, "deployed": deployed}
    return lambda kind: shutil.copytree(whole[kind], tmp_path / "copy")
