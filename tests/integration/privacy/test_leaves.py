"""Nothing leaves a device or a server, or is kept by one, without a status in `shared.leaves`."""

import ast
import json
import re

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import shared.errors
from server.federation import run_federation
from server.messages import messages
from shared.config import settings_hash
from shared.leaves import STATUSES, Section, page, sections
from shared.request import Request
from simulations.sweep.sweep import run_sweep
from tests.support import ROOT, house
from tests.support.federations import point_config
from tests.support.running.nodes import Loopback, Node, declined, schema_of, served

SECTIONS = sections()
USERS = 6
EXPERIMENTS = {
    "statistics": {
        "federation": {"rounds": 2, "cohort": 6.0, "metrics_every": 1, "select": "private_metric"},
        "privacy": {"adaptive_clipping": 0.5, "metrics_share": 0.2},
        "sweep": {"epsilons": [2.0, float("inf")], "references": ["popularity"]},
    },
    "two units": {
        "federation": {"rounds": 1, "cohort": 6.0},
        "privacy": {"unit": "both", "group_size": 2},
    },
    "correlated": {
        "federation": {"rounds": 2, "cohort": 3.0, "aggregation": "fedsa"},
        "privacy": {"mechanism": "dp_ftrl", "min_separation": 2},
    },
}


def flat(value, at=""):
    """Paths of the leaves of nested plain values."""
    if isinstance(value, dict):
        return {path for key, one in value.items() for path in flat(one, f"{at}.{key}".strip("."))}
    if isinstance(value, list) and value:
        return {path for one in value for path in flat(one, f"{at}[]")}
    return {f"{at}[]" if value == [] else at}


def tensors(file):
    """Names of an adapter's or a checkpoint's tensors, and of what is written beside them."""
    with safe_open(file, "np") as stream:
        found = {f"tensor.{name}" for name in stream.keys()}  # noqa: SIM118 (no dict)
        for name, text in (stream.metadata() or {}).items():
            found |= flat(json.loads(text), name) if name == "state" else {f"metadata.{name}"}
    return found


def lines(file):
    return {path for line in file.read_text().splitlines() for path in flat(json.loads(line))}


def without_status(key, names):
    """Names that no row of a section covers."""
    return sorted(name for name in names if SECTIONS[key].find(name) is None)


def files_of(folder):
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def runs(tiny_bert, tmp_path_factory):
    """Folders of small simulations that leave all there is."""
    found = {}
    for name, changed in EXPERIMENTS.items():
        base = {
            "data": {"spec": "world", "users": 12, "world_items": 24, "negatives": 10},
            "sweep": {"epsilons": [2.0], "references": []},
        }
        found[name] = tmp_path_factory.mktemp("runs") / "run"
        run_sweep(point_config(tiny_bert, **(base | changed)), found[name], quiet=True)
    return found


def met_in(runs):
    """Section and name of all that simulations left."""
    found = {key: set() for key in SECTIONS}
    for folder in runs.values():
        for name, path in files_of(folder).items():
            found["run"].add(name)
            if re.fullmatch(r"ledger-.*|devices/.*", name):
                found["ledger"] |= lines(path)
            elif name.endswith(".policy.json"):
                found["policy"] |= flat(json.loads(path.read_text()))
            elif name.endswith(".popularity.safetensors"):
                found["histogram"] |= tensors(path)
            elif name.startswith("adapters/"):
                found["adapter"] |= tensors(path)
            elif name.endswith(".checkpoint"):
                found["checkpoint"] |= tensors(path)
        found["results"] |= flat(json.loads((folder / "results.json").read_text()))
    return found


def test_simulations_leave_nothing_without_a_status(runs):
    for key, names in met_in(runs).items():
        assert without_status(key, names) == [], key
    left = files_of(runs["statistics"])
    assert {"results.json", "report.html", "points/data.json"} <= left.keys()


def test_rows_of_what_is_released_are_met(runs):
    """A row about what no longer is would say nothing."""
    found = met_in(runs)
    for key in ("ledger", "histogram", "adapter", "policy", "results"):
        stale = [
            leaf.name
            for leaf in SECTIONS[key].leaves
            if not any(SECTIONS[key].find(name) is leaf for name in found[key])
        ]
        # Of real runs; of other logs; of sums that devices noise: the tests of those meet them.
        named = ["name", "data.items_without_text", "points[].opened.*"]
        elsewhere = named if key == "results" else []
        assert stale == elsewhere, key


def test_what_is_planted_is_seen(runs, tmp_path):
    planted = {
        "results": flat({"points": [{"cohort_sizes": [3]}], "data": {"digest": "1"}}),
        "run": ["points/eps-2-seed-0.people.json"],
        "update": ["metrics.seconds"],
        "request": ["data_digest"],
        "device": ["history.csv"],
        "adapter": ["metadata.digest"],
    }
    for key, names in planted.items():
        assert without_status(key, names) == sorted(names)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    rows = [f"u{u},{'abcdefgh'[(u + t) % 8]},{t}" for u in range(USERS) for t in range(6)]
    (folder / "interactions.csv").write_text("\n".join(["user,item,timestamp", *rows, ""]))
    items = "\n".join(f"{item},Text of {item * 3}" for item in "abcdefgh")
    (folder / "items.csv").write_text(f"item,text\n{items}\n")
    return str(folder)


class Recording(Loopback):
    """A grid that keeps every message, both ways."""

    def __init__(self, nodes):
        super().__init__(nodes)
        self.sent, self.received = [], []

    def send_and_receive(self, messages, timeout=None):
        kept = list(messages)
        self.sent += kept
        for reply in super().send_and_receive(kept, timeout):
            self.received.append(reply)
            yield reply


def records(message):
    """Paths of all that a message holds: record and name."""
    return {f"{record}.{name}" for record, values in message.content.items() for name in values}


def envelope(message):
    names = message.metadata.__dict__
    return {name.lstrip("_") for name in names if name != "__dict__"}


@pytest.mark.usefixtures("flower")
@pytest.mark.parametrize("unit", ["user", "both"])
def test_real_devices_and_their_server_tell_nothing_without_a_status(
    unit, log, tiny_bert, tmp_path
):
    statistics = {"adaptive_clipping": 0.5, "metrics_share": 0.2} if unit == "user" else {}
    config = point_config(
        tiny_bert,
        federation={"rounds": 2, "cohort": 1.0}
        | ({"metrics_every": 1, "popularity_start": False} if statistics else {}),
        privacy={"delta": 1e-3, "unit": unit, **statistics},
    )
    nodes = [Node(tmp_path, log, user) for user in range(USERS)]
    nodes[0].caps("pause = true")
    model = schema_of(log, config)
    grid, files = Recording(nodes), served(tmp_path / "run", model)
    outcome = run_federation(grid, config, files, simulated=False)
    text = files.policy.read_text()
    about = {"arrays": load_file(files.adapter), "schema": model.digest, "round_number": 2}
    ranks = Request("ranks", config, USERS, settings_hash(config), text, **about)
    list(grid.send_and_receive(messages(ranks, [3])))  # exact ones: declined
    asked = {one.metadata.message_type for one in grid.sent}
    assert asked >= {"train", "query.metrics" if statistics else "query.histogram"}
    for sent in grid.sent:
        names = {name.removeprefix("config.") for name in records(sent)}
        assert without_status("request", names) == []
        assert without_status("envelope", envelope(sent)) == []
    kinds = set()
    for reply in grid.received:
        kind = "declined" if declined(reply) else "update"
        kinds.add(kind)
        assert without_status(kind, records(reply)) == []
        assert without_status("envelope", envelope(reply)) == []
    assert kinds == {"declined", "update"}
    for node in nodes:
        assert without_status("device", files_of(node.state)) == []
        for name in ("participation.jsonl", "ledger.jsonl"):
            if (node.state / name).exists():
                assert without_status("ledger", lines(node.state / name)) == []
    assert without_status("run", files_of(tmp_path / "run")) == []
    assert without_status("checkpoint", tensors(files.checkpoint)) == []
    wrapped = json.loads(json.dumps({"points": [outcome]}))
    told = {name: SECTIONS["results"].find(name) for name in flat(wrapped)}
    assert [name for name, leaf in told.items() if leaf is None] == []
    assert [n for n, leaf in told.items() if leaf.status == "evaluator only"] == []
    kept = {n: SECTIONS["checkpoint"].find(n).status for n in tensors(files.checkpoint)}
    assert [n for n, status in kept.items() if status == "evaluator only"] == []


def logging_functions(modules):
    """Functions of server and client that write to a log, nested ones by the outer."""
    # A logarithm (np.log, math.log) is none.
    writes = re.compile(
        r"(log|print|(?!np\.|math\.)\w+\.(log|debug|info|warning|error|exception|critical))"
    )
    found = set()
    for module in modules:
        for top in module.tree.body:
            calls = [node for node in ast.walk(top) if isinstance(node, ast.Call)]
            if any(writes.fullmatch(ast.unparse(call.func)) for call in calls):
                found.add(f"{module.name}.{top.name}")
    return found


def test_every_function_that_writes_to_a_log_has_a_status():
    rooms = [m for name, m in house.modules().items() if name.split(".")[0] in ("server", "client")]
    found = logging_functions(rooms)
    assert {"server.app.report_round", "client.device.agreement.Agreement"} <= found
    assert without_status("log", found) == []


def test_every_exit_code_has_a_status():
    codes = {
        str(kind.exit_code)
        for kind in vars(shared.errors).values()
        if isinstance(kind, type) and issubclass(kind, shared.errors.StarlingError)
    }
    assert codes >= {"1", "2", "3"}
    assert without_status("exit", codes | {"0", "130"}) == []


def test_every_status_is_a_known_one_and_names_its_ledger_entry():
    releases = {"histogram", "moments", "update", "training", "metrics"}
    for section in SECTIONS.values():
        for leaf in section.leaves:
            word, _, entry = leaf.status.partition(": ")
            assert word in STATUSES, leaf
            assert entry in releases if word == "covered" else not entry, leaf
            assert leaf.why, leaf


def test_the_page_is_fresh():
    rewrite = "rewrite it: python -m shared.leaves docs/what-leaves.md"
    assert (ROOT / "docs" / "what-leaves.md").read_text(encoding="utf-8") == page(), rewrite


def test_a_word_covers_one_word_and_two_stars_anything():
    (section,) = [Section("t", "w", tuple(SECTIONS["run"].leaves))]
    assert section.find("adapters/eps-2-seed-0.safetensors")
    assert not section.find("adapters/deep/eps-2-seed-0.safetensors")
    assert section.find("devices/eps-2-seed-0/3.jsonl")
