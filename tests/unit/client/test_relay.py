"""A node's SuperNode, as far as what is done to Flower's goes."""

import signal
import subprocess
import sys

from tests.support import ROOT


def test_a_supernode_without_what_runs_its_messages_ends():
    """It would take messages and answer none: ended, its service manager starts it again."""
    code = (
        "import sys, time; import client.relay as relay; sys.executable = '/bin/false'; "
        "relay._Ours.Popen([relay.SUPEREXEC]); time.sleep(6); print('stayed')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, b"", b"")
