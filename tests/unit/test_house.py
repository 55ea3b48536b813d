"""The house rules that a reader relies on, checked on the source itself."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter

import pytest

from tests.support import ROOT, house

MAX_LINES = 400
MAX_FILES = 13  # in a folder, besides its __init__.py
MAX_PARAMETERS, FEW = 6, 10  # fewer than FEW functions take more than that

ROOMS = {  # room -> the rooms that it may import
    "shared": (),
    "client": ("shared",),
    "server": ("shared",),
    "simulations": ("shared", "client", "server"),
}
# Room -> its parts from the ground up: each imports what stands before a `<` on its left, nothing
# beside it and nothing above. Parts that move in later have their place already.
ORDER = {
    "shared": (
        "connections errors leaves printable < canonical files < config metrics run_files secagg "
        "< data update < model privacy request < aggregation invitation published"
    ),
    "shared.privacy": (
        "guarantee keys printed < accounting contribution < mechanisms sentences < plan "
        "< ledger policy < claims"
    ),
    "client": (
        "fleet link messages secagg training words < enrolment store < relay serving < app device "
        "< person < page < commands"
    ),
    "server": (
        "checkpoint cohort exchange messages optimizer results run_policy < grid secagg < release "
        "< round < federation < app prepare < up < commands"
    ),
    "simulations": (
        "console < causal doctor results show world < summary < compare exported searched table "
        "< unlike < engine exploration report trackers verify < loopback offpolicy workers "
        "< flower < sweep < api audit tune < commands"
    ),
}
# Parts -> what they never import, late or for types either.
ABSENT = {
    "shared": {"flwr"},
    "client.device client.link client.serving client.training": {"flwr"},
    "shared client server": {"matplotlib", "jinja2", "pandas", "pyarrow", "ray"},
}
ON_DEMAND = {"pyarrow", "pyarrow.parquet"}  # when a Parquet file is opened

HOUSE = house.modules()
INSIDE = {name: module for name, module in HOUSE.items() if name.split(".")[0] in ROOMS}
TESTS = [path for path in (ROOT / "tests").rglob("*.py") if path.name != "__init__.py"]
every_module = pytest.mark.parametrize("module", INSIDE.values(), ids=lambda module: module.name)


def made_up(**files):
    """A house of a few modules, by dotted name with `__` for the dot."""
    return {
        name.replace("__", "."): Written(name.replace("__", "."), text)
        for name, text in files.items()
    }


class Written(house.Module):
    """A module that is in no file."""

    def __init__(self, name, text):
        super().__init__(ROOT / f"{name}.py", name)
        self.__dict__["text"] = text


def below(name, room):
    """Whether a module is a room or stands in it."""
    return f"{name}.".startswith(f"{room}.")


def strangers(edges):
    """Imports from a room that is none of those that the importing room may import."""
    return [
        f"{name} imports {target}"
        for name, targets in edges.items()
        for target in sorted(targets)
        if (top := target.split(".")[0]) != name.split(".")[0]
        and top not in ROOMS.get(name.split(".")[0], ROOMS)
    ]


def upward(edges, room):
    """Imports between parts of a room that do not lead down, and parts without a level."""
    rows = [row.split() for row in ORDER[room].split(" < ")]
    level = {part: number for number, row in enumerate(rows) for part in row}

    def part(name):
        return name.removeprefix(f"{room}.").split(".")[0] if below(name, room) else ""

    parts = {part(name) for name in edges if name != room} - {""}
    found = [f"{room}.{name} has no level" for name in sorted(parts - level.keys())]
    for name, targets in edges.items():
        for target in sorted(targets):
            ours, theirs = part(name), part(target)
            if {ours, theirs} <= level.keys() and ours != theirs and level[ours] <= level[theirs]:
                found.append(f"{name} imports {target}")
    return found


def imports_of(modules, parts, forbidden):
    """Imports of forbidden packages anywhere in parts of the house."""
    return [
        f"{module.name} imports {name}"
        for module in modules.values()
        if any(below(module.name, part) for part in parts.split())
        for name in sorted(module.imports() - ON_DEMAND)
        if name.split(".")[0] in forbidden
    ]


def reaches(modules, start, forbidden):
    """The chain of our own modules from `start` to an import of a forbidden top-level name."""
    waiting, seen = [(start,)], set()
    while waiting:
        chain = waiting.pop()
        if chain[-1] in seen or chain[-1] not in modules:
            continue
        seen.add(chain[-1])
        for name in modules[chain[-1]].imports(everywhere=False):
            if name.split(".")[0] in forbidden:
                return (*chain, name)
            parents = name.split(".")
            waiting += [(*chain, ".".join(parents[:n])) for n in range(1, len(parents) + 1)]
    return None


def crowded(paths):
    """Folders with more files than one looks through."""
    count = Counter(path.parent for path in paths)
    return {folder: number for folder, number in count.items() if number > MAX_FILES}


def says_something(text):
    """Whether a docstring begins with a sentence."""
    first = (text or "").split("\n\n")[0]
    return first.rstrip("`").endswith((".", ":")) and len(first.split()) >= 4


def loaded_by(code):
    """Names of the modules in a process that ran some code."""
    code += "\nimport sys; sys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


@pytest.fixture(scope="module")
def edges():
    return house.graph(HOUSE)


def test_rooms_import_only_what_they_may(edges):
    assert strangers(edges) == []


@pytest.mark.parametrize("room", ORDER)
def test_imports_lead_down(room, edges):
    assert upward(edges, room) == []


def test_no_circles(edges):
    """Late imports and those for types count: a reader has to walk them too."""
    assert house.circles(edges) == []


@pytest.mark.parametrize("parts", ABSENT)
def test_what_devices_and_servers_do_not_need_is_not_imported(parts):
    assert imports_of(HOUSE, parts, ABSENT[parts]) == []


def test_the_order_is_seen_to_be_broken():
    planted = house.graph(
        made_up(
            apps="",
            shared="",
            shared__errors="def late():\n    from shared.data import log",
            shared__data__log="import shared.update",
            shared__update="import shared.errors",
            shared__lobby="",
            client__app="from server import messages\nimport apps",
            server__messages="import shared.errors",
        )
    )
    assert strangers(planted) == [
        "client.app imports apps",
        "client.app imports server.messages",
    ]
    assert upward(planted, "shared") == [
        "shared.lobby has no level",
        "shared.errors imports shared.data.log",
        "shared.data.log imports shared.update",
    ]


@pytest.mark.parametrize(
    "back",
    [
        "import shared.a",
        "def late():\n    from shared import a",
        "if TYPE_CHECKING:\n    from .a import Name",
    ],
)
def test_circles_are_seen(back):
    ring = made_up(shared__a="import shared.b", shared__b="import shared.c", shared__c=back)
    assert house.circles(house.graph(ring)) == [["shared.a", "shared.b", "shared.c"]]
    assert house.circles(house.graph(ring | made_up(shared__c=""))) == []


def test_a_forbidden_package_is_seen():
    planted = made_up(client__device__clock="def late():\n    import flwr.app")
    assert imports_of(planted, "client.device", {"flwr"}) == [
        "client.device.clock imports flwr.app"
    ]
    assert imports_of(planted, "client.training", {"flwr"}) == []


@pytest.mark.parametrize("room", ["client", "server"])
def test_a_room_does_not_need_the_simulations_to_be_imported(room):
    assert f"{room}.app" in HOUSE
    assert reaches(HOUSE, f"{room}.app", {"simulations"}) is None


def test_the_relay_reaches_no_torch_at_import():
    heavy = {"torch", "transformers", "peft", "opacus"}
    assert [reaches(HOUSE, module, heavy) for module in ("apps", "client.app")] == [None, None]
    chain = reaches(HOUSE, "simulations.engine.cohort", {"torch"})
    assert chain is not None
    assert chain[0] == "simulations.engine.cohort"


def test_the_relay_imports_without_torch():
    """The same, by running it: a bundle's relay must start in a moment."""
    found = loaded_by("import apps")
    assert "client.app" in found
    assert "torch" not in found
    assert "torch" not in loaded_by("import apps, client.link")  # to a device of its own process


def test_help_is_shown_without_what_takes_seconds_to_import():
    found = loaded_by(
        "import starling\n"
        "try:\n    starling.main(['--help'])\n"
        "except SystemExit as stop:\n    assert not stop.code"
    )
    assert "click" in found  # it was shown
    assert not found & {"torch", "transformers", "flwr"}
    assert "torch" in loaded_by("import torch")  # otherwise the line above shows nothing


def test_imports_are_seen_wherever_they_stand():
    module = Written(
        "room.sub.module",
        "from . import near\n"
        "from ..other import far\n"
        "if TYPE_CHECKING:\n    import torch\n"
        "def late():\n    import scipy\n"
        "class Body:\n    import numpy\n",
    )
    assert {"room.sub.near", "room.other.far", "torch", "scipy", "numpy"} <= module.imports()
    at_once = module.imports(everywhere=False)
    assert {"room.sub.near", "numpy"} <= at_once
    assert not at_once & {"torch", "scipy"}


def test_no_folder_is_crowded():
    files = [module.path for module in INSIDE.values() if module.path.name != "__init__.py"]
    assert crowded([*files, *TESTS]) == {}
    hall = ROOT / "shared" / "hall"
    assert crowded(hall / f"{n}.py" for n in range(MAX_FILES)) == {}
    assert crowded(hall / f"{n}.py" for n in range(MAX_FILES + 1)) == {hall: MAX_FILES + 1}


def test_every_room_says_what_it_is_for():
    rooms = [module for module in INSIDE.values() if module.path.name == "__init__.py"]
    silent = [room.name for room in rooms if not says_something(ast.get_docstring(room.tree))]
    assert silent == []
    assert says_something("What a device does with an adapter: load it, rank with it, say why.")
    for too_little in (None, "", "Devices.", "What a device does with an"):
        assert not says_something(too_little)


def test_few_functions_take_many_arguments():
    """A command has one parameter for each flag; for others see `Four words` in the design."""
    functions, commands = house.wide(INSIDE, MAX_PARAMETERS)
    assert len(functions) < FEW, functions
    assert {name for _, name in commands} <= WIDE_COMMANDS
    flag = "typer.Option()"
    names = [f"p{number}" for number in range(MAX_PARAMETERS + 1)]
    planted = made_up(
        room__wide=f"class Wide:\n    def method(self, {', '.join(names)}): ...\n"
        f"def narrow({', '.join(names[1:])}): ...\n"
        f"def flags({', '.join(f'{name}: Annotated[int, {flag}]' for name in names)}): ..."
    )
    seen = house.wide(planted, MAX_PARAMETERS)
    assert seen == ([(7, "room.wide.method")], [(7, "room.wide.flags")])


WIDE_COMMANDS = {
    "client.commands.gate.check",
    "client.commands.folder.init",
    "server.commands.deploy.init",
    "simulations.commands.account.account",
    "simulations.commands.trained.adapter.recommend_items",
    "simulations.commands.data.world",
    "simulations.commands.policy.make",
    "simulations.commands.simulate.simulate",
}


@every_module
def test_no_assert_and_no_file_too_long(module):
    found = [node.lineno for node in ast.walk(module.tree) if isinstance(node, ast.Assert)]
    assert found == [], f"{module.path} validates with assert in lines {found}"
    assert module.lines <= MAX_LINES, f"{module.path} has {module.lines} lines"


@every_module
def test_modules_and_public_names_are_documented(module):
    assert ast.get_docstring(module.tree), f"{module.path} has no docstring"
    silent = [
        node.name
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == [], f"{module.path}: no docstring on {silent}"


@every_module
def test_exported_names_exist(module):
    defined = set()
    for node in module.tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            defined |= {(alias.asname or alias.name) for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign):
            defined |= {t.id for t in node.targets if isinstance(t, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            defined.add(node.target.id)
    assert exported(module.tree) <= defined


def exported(tree):
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def test_nothing_is_seeded_globally():
    seeding = {"np.random.seed", "numpy.random.seed", "torch.manual_seed", "random.seed"}
    found = [
        f"{module.name}:{node.lineno}"
        for module in INSIDE.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in seeding
    ]
    assert found == []


def test_every_package_file_is_in_the_distribution():
    """Folders of a package without __init__.py would silently be left out."""
    for folder in {module.path.parent for module in INSIDE.values()}:
        assert (folder / "__init__.py").is_file(), f"{folder} has no __init__.py"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {f"{package}*" for package in ROOMS} <= set(included)


def test_a_local_folder_of_data_is_not_ignored_with_the_package():
    """An unanchored `data/` in .gitignore would drop shared/data from git and from the bundle."""
    patterns = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    names = {part.name for package in ROOMS for part in (ROOT / package).rglob("*")}
    assert not [p for p in patterns if p.rstrip("/") in names - {"__pycache__"}]


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda page: page.name
)
def test_links_between_pages_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []
