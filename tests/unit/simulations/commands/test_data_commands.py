"""`starling data` as a person and a script meet it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shared.data.sources import open_log
from shared.errors import DataError
from simulations.commands.data import data
from simulations.world.world import World


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(data, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_written_world_is_read_back(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "world"
    assert invoke("world", "--out", str(out), "--users", "40", "--seed", "3") == f"{out}\n"
    world, log = World(40, seed=3), open_log(str(out))
    assert log.catalogue.digest == world.catalogue.digest
    assert [log.user_id(user) for user in range(40)] == [world.user_id(user) for user in range(40)]
    for user in range(40):
        assert log.history(user).tolist() == world.history(user).tolist()
    with pytest.raises(DataError, match="exists already"):
        invoke("world", "--out", str(out))


def test_inspect_counts(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item,text\na,Alpha [x]\nb,Beta\nc,Gamma\nd,Delta\n")
    rows = "u,a,100\nu,b,200\nu,c,300\nu,a,400\nv,a,50\n"
    (tmp_path / "interactions.csv").write_text("user,item,timestamp\n" + rows)
    summary = json.loads(invoke("inspect", str(tmp_path), "--json"))
    expected = {
        "users": 2,
        "items": 4,
        "interactions": 4,
        "users_evaluated": 1,
        "users_without_interactions": 0,
        "items_never_met": 1,
        "density": 0.5,
        "length_min": 1,
        "length_median": 2,
        "length_mean": 2,
        "length_max": 3,
        "top_tenth_share": 0.5,  # item a has 2 of 4
        "gini": pytest.approx(0.375),  # of 0, 1, 1, 2
        "duplicates_dropped": 1,
        "first_timestamp": 50,
        "last_timestamp": 300,
        "equal_times": 0,
        "test_targets_by_row": 0,
        "ids_normalised": 0,
        "ids_alike": 0,
        "test_targets_unseen": 1,  # item c
        "world": None,
    }
    assert {name: summary[name] for name in expected} == expected
    lines = invoke("inspect", str(tmp_path)).splitlines()
    assert "repeats dropped: 1" in lines
    assert "evaluated: 1 (with 3 interactions or more)" in lines
    assert "item text: Alpha [x]" in lines
    assert "time: 50 to 300" in lines
    assert json.loads(invoke("inspect", str(tmp_path), "--json", "--users", "1"))["users"] == 1


def test_inspect_world_and_dates(tmp_path: Path) -> None:
    assert json.loads(invoke("inspect", "world", "--users", "9", "--json"))["users"] == 9
    (tmp_path / "items.csv").write_text("item,text\na,Alpha\nb,Beta\n")
    rows = "user,item,timestamp\nu,a,874724710\nu,b,893286638\n"
    (tmp_path / "interactions.csv").write_text(rows)
    assert "time: 1997-09-20 to 1998-04-22" in invoke("inspect", str(tmp_path)).splitlines()


def test_inspect_tells_doubts_and_exact_times(
    tmp_path: Path,
) -> None:
    (tmp_path / "items.csv").write_text("item,text\na,Alpha\nb,Beta\nc,Gamma\nA,Delta\n")
    nano = "1700000000.123456789"
    rows = f"u ,a,{nano}\nu ,b,{nano}\nu ,c,5.5\nv,a,1\nv,b,2\nv,c,2\nv,A,2.0\n"
    (tmp_path / "interactions.csv").write_text("user,name,when\n" + rows)
    columns = "item=name,timestamp=when"
    summary = json.loads(invoke("inspect", str(tmp_path), "--columns", columns, "--json"))
    assert summary["first_timestamp"] == 1
    assert summary["last_timestamp"] == nano  # no float is exact
    assert (summary["equal_times"], summary["test_targets_by_row"]) == (5, 2)
    assert (summary["ids_normalised"], summary["ids_alike"]) == (1, 2)
    assert summary["users"] == 2
    told = CliRunner().invoke(data, ["inspect", str(tmp_path), "--columns", columns])
    assert "1 identifiers were taken in another form" in told.stderr
    lines = told.stdout.splitlines()
    assert "equal times: 5 interactions share their user's time with another; " in (
        "\n".join(lines)
    )
    assert f"time: 1 to {nano}" in lines


def test_ls_names_every_source() -> None:
    listed = json.loads(invoke("ls", "--json"))
    names = [
        "world",
        "movielens-100k",
        "movielens-latest-small",
        "movielens-1m",
        "amazon-software",
        "amazon-arts-office",
    ]
    assert [row["name"] for row in listed] == names
    assert [line.split(":")[0] for line in invoke("ls").splitlines()] == names


@pytest.mark.parametrize("command", ["inspect", "fetch"])
def test_mistakes_reach_the_root_command(command: str) -> None:
    with pytest.raises(DataError, match="'nothing-like-it'"):
        invoke(command, "nothing-like-it")
