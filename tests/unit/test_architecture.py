"""The page that draws the house names what is there, all of it, and follows a round."""

import re

from tests.support import ROOT, house

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def drawn(page):
    """Paths that the drawing names, without `.py`: each line's words before its first gap."""
    found, folders = set(), {}
    for line in page.split("```")[1].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.split(r"\s{2,}", line.strip())[0].split()
        above = folders.get(depth - 1, "")
        found |= {(above + name).removesuffix("/").removesuffix(".py") for name in names}
        if names and names[-1].endswith("/"):
            folders[depth] = above + names[-1]
    return found


def test_the_drawing_names_every_package_and_nothing_else():
    files = {path.relative_to(ROOT) for package in house.PACKAGES for path in source(package)}
    rooms = {str(file.parent) for file in files if file.name == "__init__.py"}
    beside = {str(file.with_suffix("")) for file in files if len(file.parts) == 2} - {
        f"{package}/__init__" for package in house.PACKAGES
    }
    named = drawn(ARCHITECTURE)
    assert (rooms | beside) - named == set()
    absent = [n for n in named if not ((ROOT / n).is_dir() or (ROOT / f"{n}.py").is_file())]
    assert absent == []


def source(package):
    return (ROOT / package).rglob("*.py")


def test_the_check_of_the_drawing_sees_what_is_missing_and_what_is_gone():
    page = "```\nroom/      one\n  gone near   two\n  inner/     three\n    deep   four\n```"
    assert drawn(page) == {"room", "room/gone", "room/near", "room/inner", "room/inner/deep"}


def test_a_round_is_followed_through_at_most_eight_files():
    part = ARCHITECTURE.split("## One round, file by file")[1].split("\n## ")[0]
    steps = re.findall(r"^(\d+)\. \[([^]]+)\]", part, flags=re.MULTILINE)
    assert [int(number) for number, _ in steps] == list(range(1, len(steps) + 1))
    assert len(steps) <= 8
    assert all((ROOT / file).is_file() for _, file in steps)
