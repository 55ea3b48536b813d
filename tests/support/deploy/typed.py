"""Whether a command line that a page or a unit holds can be typed: command and flags exist."""

import re
import shlex
from functools import cache

import click

import starling


@cache
def _group():
    return starling.command_line()


def problem(words):
    """What the command line would refuse of `starling WORDS` before it looks at any value.

    Returns
    -------
    str
        Empty if there is nothing: the command exists, so do its flags, and nothing needed is left
        out. Nothing runs.
    """
    context = click.Context(_group(), info_name="starling")
    command, left = _group(), list(words)
    try:
        while isinstance(command, click.Group):
            if not left:
                return "" if command is _group() else f"{command.name}: a command is missing"
            if left[0].startswith("-"):  # of the group's own
                command.make_parser(context).parse_args(left)
                return ""
            name, command, left = command.resolve_command(context, left)
            context = click.Context(command, info_name=name, parent=context)
        given, rest, order = command.make_parser(context).parse_args(left)
    except click.ClickException as error:
        return error.format_message()
    missing = [one for one in command.params if one.required and not _given(one, given, order)]
    if {"--help", "-h"} & {*left}:
        return ""
    return (
        f"needs {missing[0].human_readable_name}"
        if missing
        else f"unexpected {rest[0]}"
        if rest
        else ""
    )


def _given(parameter, given, order):
    if isinstance(parameter, click.Argument):
        return isinstance(given.get(parameter.name), str | list | tuple)
    return parameter in order


def typed_in(page):
    """Lines of a page's code blocks that type `starling`: words after it, one list a line."""
    found = []
    for block in re.findall(r"^```\w*\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            found += words_of(line)
    return found


def words_of(line):
    """What `starling` is given wherever one line of a shell runs it, one list each."""
    line = re.sub(r"(^|\s)#.*", "", line)
    inner = re.findall(r"\$\(([^()]*)\)", line)
    parts = re.split(r"\||&&|;", re.sub(r"\$\([^()]*\)", "X", line))
    return [words for part in [*parts, *inner] if (words := _ran(part)) is not None]


def _ran(part):
    """The words after `starling` where a command runs it; None where none does."""
    try:
        words = shlex.split(part)
    except ValueError:
        words = part.split()
    composed = re.match(r".*\bdocker compose (?:.* )?run (?:--?[\w-]+ )*[a-z]+ ", part)
    if composed:  # the image's entry point is the program
        return _until_redirected(shlex.split(part[composed.end() :]))
    before = re.compile(r"\$|sudo|env|exec|-u|\w+=.*")
    while words and before.fullmatch(words[0]):
        del words[: 2 if words[0] == "-u" else 1]
    if words and words[0].rpartition("/")[2] == "starling":
        return _until_redirected(words[1:])
    return None


def _until_redirected(words):
    ends = [n for n, word in enumerate(words) if re.match(r"\d?[<>]", word)]
    return words[: ends[0]] if ends else words
