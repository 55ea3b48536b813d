"""A relay: what it has loaded for every message, and how its SuperNode ends."""

import signal
import subprocess
import sys

import pytest

from tests.support import ROOT

LOADED = """
import sys
from client.relay import load
load()
import flwr.supercore.cli.flower_superexec
import apps
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
HEAVY = {"torch", "transformers", "scipy", "sqlalchemy", "alembic", "mako", "uvicorn"}


def loaded(program):
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return set(done.stdout.split())


def test_a_relay_loads_no_database_for_a_message():
    found = loaded(LOADED)
    assert {"flwr", "client", "apps"} <= found
    assert not found & HEAVY


def test_flowers_own_program_does():
    """Else what the relay does to its packages would be in vain, and could go."""
    assert "sqlalchemy" in loaded(LOADED.replace("load()\n", ""))


def test_a_supernode_without_what_runs_its_messages_ends():
    """It would take messages and answer none: ended, its service manager starts it again."""
    code = (
        "import sys, time; import client.relay as relay; sys.executable = '/bin/false'; "
        "relay._Ours.Popen([relay.SUPEREXEC]); time.sleep(6); print('stayed')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, b"", b"")


@pytest.mark.parametrize(("itself", "code"), [(True, 1), (False, 0)])
def test_a_node_that_ends_of_itself_is_no_success(itself, code):
    """Without a service manager somebody must see that it is to be started again."""
    how = "client.fleet.end_of_itself()" if itself else "signal.raise_signal(signal.SIGTERM)"
    program = (
        "import signal, sys, time; import client.fleet, client.relay\n"
        "from flwr.supernode import cli\n"
        "def supernode():\n"
        "    signal.signal(signal.SIGTERM, lambda *told: sys.exit(0))\n"
        f"    {how}; time.sleep(9)\n"
        "cli.flower_supernode = supernode; sys.argv = ['relay']; client.relay.main()"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == code


def test_a_message_in_hand_ends_with_what_runs_messages():
    """It would ask for ever whom to tell its answer."""
    code = (
        "import os, signal, sys, time; import client.relay as relay\n"
        "import flwr.supernode.cli.flwr_clientapp\n"
        "def app(): print(os.getpid(), flush=True); time.sleep(9); print('stayed', flush=True)\n"
        "sys.modules['flwr.supernode.cli.flwr_clientapp'].flwr_clientapp = app\n"
        "relay._Forks.Popen(['flwr-clientapp'])\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT) as runs:
        assert int(runs.stdout.readline()) != runs.pid
        runs.kill()
        assert runs.stdout.read() == b"", "its output is open until it has ended, too"
