"""What the site adds to the pages of docs/, which GitHub shows as they are.

- A link to a file or folder outside docs/ leads to a page that shows it.
- Every command's help is a page: `reference/commands.md`.
- Pages that the navigation of mkdocs.yml does not name stand at its end.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files

import starling

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SOURCE = "source"  # the folder of pages that show files
HELP = "reference/commands.md"
BESIDE = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
_LINK = re.compile(r"(?<=\]\()([^()\s#]+)(#[^()\s]*)?(?=\))")
_FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def on_config(config: Any) -> Any:
    """Put pages that the navigation lacks at its end."""
    named = set(re.findall(r"'([\w/.-]+\.md)'", repr(config["nav"])))
    pages = sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))
    others = [page for page in pages if page not in named and "/" not in page]
    below = {
        at: [page for page in pages if page.startswith(f"{at}/")] for at in ("research", "adr")
    }
    sections = {next(iter(each)): next(iter(each.values())) for each in config["nav"]}
    sections["Results"].append({"Research": below["research"]})
    sections["Reference"] += [{"Every command": HELP}, *others, {"Decisions": below["adr"]}]
    config["nav"].append({"The project": [{Path(k).stem.capitalize(): k} for k in BESIDE]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that docs/ does not have."""
    made = {HELP: commands_page()}
    made |= {to: (ROOT / of).read_text(encoding="utf-8") for to, of in BESIDE.items()}
    for page in DOCS.rglob("*.md"):
        for place in outside(page.read_text(encoding="utf-8"), page.parent):
            made |= shown(place)
    for place in (p for of in BESIDE.values() for p in outside((ROOT / of).read_text(), ROOT)):
        made |= shown(place)
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Lead links out of docs/ to the pages that show what is there."""
    name = page.file.src_uri
    of = ROOT / BESIDE[name] if name in BESIDE else DOCS / name

    def inside(match: re.Match[str]) -> str:
        place = Path(os.path.normpath(of.parent / match[1]))
        if not place.exists():
            return match[0]
        to = str(place.relative_to(DOCS)) if place.is_relative_to(DOCS) else page_of(place)
        return os.path.relpath(to, Path(name).parent) + (match[2] or "")

    return re.sub(_LINK, inside, markdown)


def outside(text: str, folder: Path) -> Iterator[Path]:
    """Files and folders of the checkout, not of docs/, that a text links to."""
    for match in _LINK.finditer(_FENCED.sub("", text)):
        place = Path(os.path.normpath(folder / match[1]))
        if place.exists() and not place.is_relative_to(DOCS) and place.is_relative_to(ROOT):
            yield place


def page_of(place: Path) -> str:
    """The page that shows a file or folder."""
    name = str(place.relative_to(ROOT))
    for page, of in BESIDE.items():
        if name == of:
            return page
    return f"{SOURCE}/{name}.md"


def shown(place: Path) -> dict[str, str]:
    """Pages that show a file, or a folder and the files in it, by name."""
    name = place.relative_to(ROOT)
    if name.name in BESIDE.values():
        return {}
    if place.is_dir():
        inner = sorted(each for each in place.iterdir() if each.is_file() and each.suffix != ".pyc")
        pages = {page: text for each in inner for page, text in shown(each).items()}
        lines = [f"- [{each.name}]({place.name}/{each.name}.md)" for each in inner]
        return pages | {page_of(place): "\n".join([f"# {name}/", "", *lines, ""])}
    kind = {".py": "python", ".toml": "toml", ".yaml": "yaml"}.get(place.suffix, "text")
    text = place.read_text(encoding="utf-8", errors="replace")
    return {page_of(place): f"# {name}\n\n````{kind}\n{text}\n````\n"}


def commands_page() -> str:
    """Every command's help, as it prints it in 90 columns."""
    parts = ["# Every command", "", "What `starling COMMAND --help` prints, made from the code."]
    for words, command in walk("starling", starling.command_line()):
        context = click.Context(command, info_name=words, terminal_width=76, max_content_width=76)
        parts += ["", f"## {words}", "", "```text", plain(command, context), "```"]
    return "\n".join(parts) + "\n"


def walk(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """A command and those below it, by what is typed."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=words)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from walk(f"{words} {name}", inner)


def plain(command: click.Command, context: click.Context) -> str:
    """Its help without boxes and colours."""
    formatter = context.make_formatter()
    click.Command.format_usage(command, context, formatter)
    click.Command.format_help_text(command, context, formatter)
    if isinstance(command, click.Group):
        click.Group.format_commands(command, context, formatter)
    click.Command.format_options(command, context, formatter)
    return formatter.getvalue().rstrip()
