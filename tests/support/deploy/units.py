"""Units of systemd and Dockerfiles, read."""

import json
import re
import shlex
from dataclasses import dataclass, field


def unit(file):
    """Section -> setting -> its values, in order."""
    found, section = {}, None
    text = re.sub(r"^[#;].*\n", "", file.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        else:
            name, _, value = line.partition("=")
            section.setdefault(name, []).append(value)
    return found


def seconds(span):
    """`15min` and `15m` alike."""
    number, word = re.fullmatch(r"(\d+)(s|m|min|h)?", span).groups()
    return int(number) * {"s": 1, None: 1, "m": 60, "min": 60, "h": 3600}[word]


@dataclass
class Stage:
    """One image that a Dockerfile can make; what it does not say it has from the one before."""

    name: str
    user: str = ""
    entrypoint: list = field(default_factory=list)
    command: list = field(default_factory=list)


class Dockerfile:
    """Its instructions, and what they come to.

    Attributes
    ----------
    stages : list of Stage
    run : list of str
        Shell commands.
    copied : list of list of str
        Sources and the place of each COPY.
    settings : list of str
        Of ENV and ARG.
    """

    def __init__(self, file):
        text = re.sub(r"^\s*#.*\n", "", file.read_text(), flags=re.MULTILINE)
        lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
        self.instructions = [tuple(line.split(maxsplit=1)) for line in lines]
        self.stages, self.run, self.copied, self.settings = [], [], [], []
        for word, rest in self.instructions:
            self._read(word, rest)

    def _read(self, word, rest):
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            before = {stage.name: stage for stage in self.stages}.get(base, Stage(""))
            stage = Stage(name, before.user, before.entrypoint, before.command)
            self.stages.append(stage)
        elif word == "USER":
            self.stages[-1].user = rest
        elif word == "ENTRYPOINT":
            self.stages[-1].entrypoint = json.loads(rest)
        elif word == "CMD":
            self.stages[-1].command = json.loads(rest)
        elif word == "RUN":
            self.run.append(rest)
        elif word == "COPY":
            self.copied.append(shlex.split(rest))
        elif word in ("ENV", "ARG"):
            self.settings.append(rest)
