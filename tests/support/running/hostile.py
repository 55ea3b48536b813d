"""What an operator who sends edited code does in a relay's place: asks, looks, and reports.

Run with the edited bundle as its working folder, which stands first on the path as Flower puts it.
"""

import base64
import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path


def asked(place, frame):
    """What comes back to the bytes of a frame; empty if nothing does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(60)
        try:
            link.connect(place)
            link.sendall(frame)
            link.shutdown(socket.SHUT_WR)
            return sys.modules["client.link"].receive(link, 60).pack()
        except Exception:  # of whatever kind: nothing came
            return b""


def looked(told):
    """What of a device lies open to this process: names, where everything is shut none."""
    state, place, process = (Path(told[name]) for name in ("state", "socket", "proc"))
    inside = [state / name for name in told["files"]]
    reads = [*inside, process / "mem", process / "environ", process / "maps", process / "root/etc"]
    ways = {f"read {file}": file.open for file in reads}
    ways |= {f"write {file}": lambda file=file: file.open("a") for file in inside}
    ways |= {
        "list the folder": lambda: list(state.iterdir()),
        "list what it has open": lambda: list((process / "fd").iterdir()),
        "link a file": lambda: os.link(inside[0], Path(told["bundle"]) / "linked"),
        "end it": lambda: os.kill(int(process.name), signal.SIGTERM),
        "remove the socket": place.unlink,
        "move the socket": lambda: place.rename(place.with_name("moved")),
        "open the socket's folder": lambda: place.parent.chmod(0o777),
        "listen beside it": lambda: socket.socket(socket.AF_UNIX).bind(str(place) + "2"),
        "trace it": lambda: traced(int(process.name)),
    }
    found = []
    for name, way in ways.items():
        with contextlib.suppress(OSError):
            way()
            found.append(name)
    return found


def traced(process):
    import ctypes

    if ctypes.CDLL(None).ptrace(16, process, 0, 0):  # PTRACE_ATTACH
        raise PermissionError


def main():
    sys.path.insert(0, str(Path.cwd()))
    told = json.load(sys.stdin)
    import client.device.agreement
    import client.link

    edited = Path(client.device.agreement.__file__).is_relative_to(Path.cwd())
    if told["user"]:  # only now: this Python may lie where that user may not look
        os.setgroups([])
        os.setresgid(*[told["group"]] * 3)
        os.setresuid(*[told["user"]] * 3)
    answers = [asked(told["socket"], base64.b64decode(frame)) for frame in told["frames"]]
    found = looked(told) if told["look"] else []
    said = [base64.b64encode(each).decode() for each in answers]
    able = Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0]
    who = {"user": os.getuid(), "able": int(able, 16)}
    sys.stdout.write(json.dumps({"edited": edited, "answers": said, "open": found, **who}))


if __name__ == "__main__":
    main()
