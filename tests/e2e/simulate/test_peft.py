"""Out to PEFT, and back from it, on the command line."""

import html
import json
import shutil
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from shared.config.places import ELSEWHERE
from shared.leaves import sections
from shared.privacy import sentences
from shared.run_files import RunFolder
from simulations.summary import interval_of
from tests.support.command import command, results, unfinish
from tests.support.plain.lora import save_lora

NAME = "eps-2-seed-0.safetensors"


def test_a_runs_adapter_goes_out_with_its_card(run, tmp_path):
    out = tmp_path / "out"
    done = command("export", run / "adapters" / NAME, "--to", "peft", out, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"folder": str(out), "to": "peft"}
    text = (out / "README.md").read_text()
    found = results(run)
    point = found["points"][0]
    assert f"| user | {sentences.at_most(point['epsilon'])} | {point['delta']:g} |" in text
    for name in ("hr@10", "full_ndcg@10"):
        low, high = interval_of(point["metrics"], name)
        assert f"| {name} | {point['metrics'][name]:.4f} | {low:.4f} to {high:.4f} |" in text
    assert f"{found['data']['name']}: 40 people, {found['data']['items']} items." in text
    assert sentences.seeded() in text
    assert sentences.evaluators() in text


FILES = {"README.md", "adapter_config.json", "adapter_model.safetensors", "starling.safetensors"}


def flat(tree, prefix):
    """Dotted names of all that is in nested values."""
    if not isinstance(tree, dict):
        return {prefix}
    return set().union(*(flat(value, f"{prefix}.{name}") for name, value in tree.items()), set())


def written_in(folder):
    """Every file of an export and every field in it, by the name that it has in the table."""
    assert {file.name for file in folder.iterdir()} == FILES
    found = {f"adapter_config.json:{name}" for name in json.loads(text(folder, "_config.json"))}
    for name in ("adapter_model.safetensors", "starling.safetensors"):
        with safe_open(folder / name, framework="np") as stream:
            found |= {f"{name}:tensor.{each}" for each in stream.keys()}  # noqa: SIM118 - no mapping
            for key, told in stream.metadata().items():
                tree = json.loads(told) if key == "about" else told
                found |= flat(tree, f"{name}:metadata.{key}")
    _, header, card = text(folder, "README.md").split("---\n", 2)
    found |= {f"README.md:header.{line.partition(':')[0]}" for line in header.splitlines()}
    return found | {f"README.md:{line[3:]}" for line in card.splitlines() if line[:3] == "## "}


def text(folder, name):
    return next(folder.glob(f"*{name}")).read_text()


def test_all_that_an_export_writes_has_a_status_and_exact_figures_are_the_evaluators(run, tmp_path):
    assert command("export", run / "adapters" / NAME, "--to", "peft", tmp_path / "out").code == 0
    rows, found = sections()["exported"], written_in(tmp_path / "out")
    assert {name for name in found if rows.find(name) is None} == set()
    assert {rows.find(name).name for name in found} == {leaf.name for leaf in rows.leaves}
    told = text(tmp_path / "out", "README.md")
    for heading in (name.partition(":")[2] for name in found if name.startswith("README.md:")):
        part = told.partition(f"## {heading}\n")[2].partition("\n## ")[0]
        exact = f"{results(run)['points'][0]['metrics']['hr@10']:.4f}" in part
        assert exact == (rows.find(f"README.md:{heading}").status == "evaluator only")
        assert exact == (sentences.evaluators() in part)
    assert rows.find("notes.txt") is None
    assert rows.find("starling.safetensors:metadata.user") is None


def test_an_adapter_alone_has_a_card_without_metrics(run, tmp_path):
    alone = tmp_path / "elsewhere" / NAME
    alone.parent.mkdir()
    shutil.copy(run / "adapters" / NAME, alone)
    done = command("export", alone, "--to", "peft", tmp_path / "out")
    assert done.code == 0, done.err
    text = (tmp_path / "out" / "README.md").read_text()
    assert "How well it ranks" not in text
    assert "results were not beside the adapter" in text


def test_results_of_another_run_are_not_taken_for_its_own(run, tmp_path):
    """A file of the same name under another run's folder is not the one that its results name."""
    other = shutil.copytree(run, tmp_path / "other")
    made = other / "adapters" / "eps-3-seed-0.safetensors"
    shutil.copy(other / "adapters" / NAME, made)
    assert command("export", made, "--to", "peft", tmp_path / "out").code == 0
    assert "How well it ranks" not in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("what", ["results", "adapter"])
def test_a_card_says_nothing_that_was_not_sealed(what, run, tmp_path):
    """Better figures in results.json, or another adapter under the name that they are of."""
    other = shutil.copytree(run, tmp_path / "other")
    if what == "results":
        text = (other / "results.json").read_text()
        figure = json.dumps(results(run)["points"][0]["metrics"]["hr@10"])
        (other / "results.json").write_text(text.replace(figure, "0.99"))
    else:
        shutil.copy(other / "adapters" / "eps-inf-seed-0.safetensors", other / "adapters" / NAME)
    done = command("export", other / "adapters" / NAME, "--to", "peft", tmp_path / "out")
    assert done.code == 2
    assert "starling verify" in done.error
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def begun(settings, tiny_bert, tmp_path_factory):
    """A run that began from a plain LoRA on one layer, and the LoRA."""
    folder = tmp_path_factory.mktemp("begun")
    lora = save_lora(tiny_bert, folder / "lora", r=3, layers_to_transform=[0])
    words = ("simulate", "--config", settings, "--backbone", tiny_bert, "--references", "none")
    words += ("--start", lora, "--start-is-public", "--out", folder / "run", "--quiet")
    done = command(*words)
    assert done.code == 0, done.err
    return folder / "run", lora


def test_a_federation_begins_from_a_plain_lora(begun):
    run, lora = begun
    plain = load_file(lora / "adapter_model.safetensors")
    for point in ("eps-2-seed-0", "eps-inf-seed-0"):
        initial = load_file(run / "points" / f"{point}.initial.safetensors")
        ours = {name: tensor for name, tensor in initial.items() if ".lora_" in name}
        assert len(ours) == len(plain) == 4
        for name, tensor in plain.items():
            layer = name.removeprefix("base_model.model.").removesuffix(".weight")
            assert (ours[f"backbone.{layer}.default.weight"] == tensor).all()
        trained = load_file(run / "adapters" / f"{point}.safetensors")
        assert any((trained[name] != tensor).any() for name, tensor in ours.items())


def test_the_start_is_in_the_record_and_told(begun):
    run, _ = begun
    model = results(run)["config"]["model"]
    assert model["start_is_public"] is True
    said = sentences.begun(model["start_sha256"])
    done = command("verify", run)
    assert (done.code, said in done.out) == (0, True)
    assert said in json.loads(command("verify", run, "--json").out)["premises"]
    assert said in command("simulate", "--resume", run).out
    assert said in html.unescape((run / "report.html").read_text())


# A run's own record holds settings as they were typed, under one hash; what is made of it does not.
TYPED = ("config.toml", "results.json", "points/*.toml", "adapters/*.safetensors")


def test_where_things_lie_on_this_machine_is_in_a_runs_record_alone(begun, tiny_bert, tmp_path):
    run, lora = begun
    export = tmp_path / "out"
    done = command("export", run / "adapters" / NAME, "--to", "peft", export)
    assert done.code == 0, done.err
    handed = [*RunFolder(run).handed_on(), run / "results.json", *export.iterdir()]
    assert len(handed) > 12
    for file in handed:
        content = file.read_bytes()
        told = [place for place in (tiny_bert, lora) if str(place).encode() in content]
        own = any(run in file.parents and file.match(pattern) for pattern in TYPED)
        assert bool(told) is own, (file.name, told)
    assert f'base_model_name_or_path": "{tiny_bert.name}"' in text(export, "_config.json")
    assert sentences.encoded(
        ELSEWHERE["reader"], results(run)["config"]["model"]["backbone_sha256"]
    ) in text(export, "README.md")


def test_a_record_without_the_statement_does_not_verify(begun, tmp_path):
    run = shutil.copytree(begun[0], tmp_path / "run")
    for file in (run / "results.json", run / "config.toml"):
        text = file.read_text()
        assert "start_is_public" in text
        file.write_text(text.replace('"start_is_public": true', '"start_is_public": false'))
    assert command("verify", run).code == 3


def test_a_run_goes_on_from_the_same_start_alone(begun, tmp_path):
    run, lora = begun
    copied = unfinish(shutil.copytree(run, tmp_path / "run"), "eps-2-seed-0")
    file = lora / "adapter_config.json"
    before = file.read_text()
    try:
        file.write_text(before + "\n")
        done = command("simulate", "--resume", copied, "--quiet")
    finally:
        file.write_text(before)
    assert done.code == 2
    assert "changed since the run started" in done.error
    assert command("simulate", "--resume", copied, "--quiet").code == 0


def test_what_was_trained_on_the_same_items_is_no_start(run, settings, tiny_bert, tmp_path):
    """Of the same people, then: what it holds of them would be counted nowhere."""
    out = tmp_path / "out"
    assert command("export", run / "adapters" / NAME, "--to", "peft", out).code == 0
    words = ("simulate", "--config", settings, "--backbone", tiny_bert, "--references", "none")
    words += ("--start", out, "--start-is-public", "--out", tmp_path / "run", "--quiet")
    done = command(*words)
    assert done.code == 2
    assert "on people of this run: it is not public" in done.error
    assert not Path(tmp_path / "run").exists()
    done = command(*words, "--users", "39")
    assert done.code == 2
