"""What an operator may not claim, even under the key: attacks, and the words that refuse them."""

from dataclasses import replace

import pandas
from dp_accounting import GaussianDpEvent, SelfComposedDpEvent
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from shared.config import at_epsilon, from_dict
from shared.privacy.keys import load_or_create_signing_key, sign
from shared.privacy.ledger import seal
from shared.privacy.ledger.chain import Chain
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.seal import digests, sealed_files, write_sealed
from shared.privacy.ledger.spent import spent
from shared.privacy.policy.signed import load_policy, signed
from simulations.compare import Difference, stated_means
from simulations.results import Point
from tests.support.privacy.forging import (
    adapter,
    at,
    load,
    only,
    promise_with,
    reseal,
    retold,
    told,
    write,
)


def operator(change):
    return told(change, reseal)


def files_of_two_points(run):
    one, two = sorted(run.glob("adapters/*"))
    one.rename(run / "third")
    two.rename(one)
    (run / "third").rename(two)
    reseal(run, load(run))


def promising(**changes):
    def attack(run):
        retold(adapter(run), promise_with(adapter(run), **changes))
        reseal(run, load(run))

    return attack


def without_promise(run):
    retold(adapter(run), None)
    reseal(run, load(run))


def unsealed_adapter(run):
    reseal(run, load(run), without=[load(run)["points"][0]["adapter"]])


def another_policy(run):
    """Signed by the same operator, of a run of another number of users."""
    file = only(run, "points/*.policy.json")
    policy = replace(load_policy(file, None), users=7)
    file.write_text(signed(policy, load_or_create_signing_key()))
    reseal(run, load(run))


def out_of_the_folder(run):
    """The digest is right, and the file is not in the folder."""
    found = load(run)
    (run.parent / "outside").write_text("")
    files = sealed_files(found) | digests(run.parent, [run.parent / "outside"])
    files["../outside"] = files.pop("outside")
    write_sealed(run / "results.json", found, files)


def more_noise_everywhere(run):
    """A ledger of more noise than there was, and all that follows from it."""
    found, file = load(run), only(run, "ledger-*")
    old = Ledger.open(file)
    file.unlink()
    again = Ledger.create(file, old.header)
    for entry in old.entries:
        again.append(entry.round, entry.release, GaussianDpEvent(50.0))
    found["points"][0] |= {"epsilon": again.epsilon()}
    found["points"][0]["ledger"] |= {"head": again.head}
    reseal(run, found)


def ledger_anew(run, entries, **claimed):
    """Another ledger for the first point, and all that follows from it."""
    found, file = load(run), only(run, "ledger-*")
    old = Ledger.open(file)
    file.unlink()
    again = Ledger.create(file, old.header)
    for number, release, event in entries([(e.round, e.release, e.event) for e in old.entries]):
        again.append(number, release, event)
    point = found["points"][0]
    config = from_dict(found["config"])
    config = at_epsilon(config, point["epsilon_target"], point["seed"])
    point |= spent(again, config, found["data"]["users"]) | claimed
    told = promise_with(adapter(run), epsilon=again.epsilon(), ledger_head=again.head)
    retold(adapter(run), told)
    reseal(run, found)


def anew(entries, **claimed):
    return lambda run: ledger_anew(run, entries, **claimed)


def outside(run):
    """Right in every way, but that it lies elsewhere."""
    found, file = load(run), adapter(run)
    name, there = found["points"][0]["adapter"], str(run.parent / file.name)
    file.rename(there)
    found["points"][0]["adapter"] = there
    write_sealed(run / "results.json", found, renamed(found, name, there))


def renamed(found, old, new):
    return {new if name == old else name: was for name, was in sealed_files(found).items()}


def detour(run):
    found = load(run)
    name = found["points"][0]["adapter"]
    found["points"][0]["adapter"] = name.replace("/", "//")
    write_sealed(run / "results.json", found, renamed(found, name, name.replace("/", "//")))


def dropped(pattern):
    def attack(run):
        for file in run.glob(pattern):
            file.unlink()
        reseal(run, load(run))

    return attack


def policy_of_nobody(run):
    """One that promises less, under a name that is no point's."""
    old, new = only(run, "points/*.policy.json"), run / "points" / "eps-2.policy.json"
    told = load_policy(old, None)
    less = replace(told.promises[0], guarantee=replace(told.promises[0].guarantee, budget=0.01))
    new.write_text(signed(replace(told, promises=(less,)), load_or_create_signing_key()))
    old.unlink()
    reseal_with(run, "points/eps-2.policy.json")


def policy_of_more_rounds(run):
    file = only(run, "points/*.policy.json")
    told = load_policy(file, None)
    file.write_text(signed(replace(told, rounds=told.rounds + 1), load_or_create_signing_key()))
    reseal(run, load(run))


def reseal_with(run, name):
    found = load(run)
    files = [run / at for at in (*sealed_files(found), name)]
    write_sealed(run / "results.json", found, digests(run, files))


def summary(run):
    (run / "SUMMARY.txt").write_text("epsilon 0.01")
    reseal_with(run, "SUMMARY.txt")


def table_edited(name):
    """As a spreadsheet leaves it: another figure, in the form that a table has."""

    def attack(run):
        file = run / name
        if name.endswith(".csv"):
            table = pandas.read_csv(file)
            table.loc[0, "hr@10"] = 0.99
            table.to_csv(file, index=False)
        else:
            table = pandas.read_parquet(file)
            table.loc[0, "epsilon"] = 0.01
            table.to_parquet(file, index=False)
        reseal(run, load(run))

    return attack


def settings_replaced(pattern):
    def attack(run):
        only(run, pattern).write_text("[privacy]\nepsilon = 0.01\n")
        reseal(run, load(run))

    return attack


def carried(change):
    """Other words in an adapter's metadata."""

    def attack(run):
        file = adapter(run)
        with safe_open(file, framework="np") as stream:
            metadata = stream.metadata()
        change(metadata)
        save_file(load_file(file), file, metadata)
        reseal(run, load(run))

    return attack


def promised_twice(told):
    told["promise"] = '{"guarantees":[{"epsilon":0.01}],' + told["promise"][1:]


def note_in_the_seal(run):
    found, file = load(run), run / "results.json"
    found["seal"]["note"] = "epsilon 0.1"
    found["seal"].pop("signature")
    key = load_or_create_signing_key()
    found["seal"]["signature"] = sign(key, seal._message(file, found))
    write(run, found)


def ledger_of_a_long_name(found):
    found["points"][0]["ledger"]["file"] = f"ledger-{'a' * 300}.jsonl"


def only_event(event):
    """A ledger of one release that is written, not counted: whoever writes one need not count."""

    def attack(run):
        found, file = load(run), only(run, "ledger-*")
        header = Ledger.open(file).header
        file.unlink()
        Ledger.create(file, header)
        chain = Chain("")
        chain.add(file.read_bytes())
        line = chain.entry_line(1, "update", event)
        chain.add(line)
        with file.open("ab") as stream:
            stream.write(line)
        found["points"][0]["ledger"] |= {"entries": 1, "head": chain.head}
        reseal(run, found)

    return attack


NO_FIELD = "no field of a run's results"
LIES_ANEW = {
    "fewer rounds, and in the ledger": (
        anew(lambda old: old[:-1], rounds=1), "rounds = 1 claimed, the settings give 2"),
    "rounds of another run": (
        anew(lambda old: [(n and n + 70, *rest) for n, *rest in old]),
        "update: recorded in a round outside 1 to 2: 71",
    ),
    "adapter elsewhere": (outside, "sealed, but a link or a name that leads out"),
    "adapter by a detour": (detour, "sealed, but a link or a name that leads out"),
    "policies dropped": (dropped("points/*.policy.json"), "not in the seal, and expected there"),
    "policy of no point": (policy_of_nobody, "'points/eps-2.policy.json': sealed, and no file"),
    "policy of more rounds": (policy_of_more_rounds, "promises devices other than"),
    "sealed beside": (summary, "'SUMMARY.txt': sealed, and no file of the run's points"),
    "adapter: other settings": (
        carried(lambda at: at.update(settings=at["settings"].replace("2.0", "0.01"))),
        "carries other settings than the point's",
    ),
    "adapter: a note": (carried(lambda at: at.update(note="epsilon 0.1")), "carries 'note'"),
    "adapter: promised twice": (carried(promised_twice), "not in the form in which a run writes"),
    "metrics on top": (
        operator(lambda f: f.update(metrics={"hr@10": 0.9}, metrics_status="covered")), NO_FIELD),
    "eps": (operator(at("eps", to=0.1)), NO_FIELD),
    "eps of a point": (operator(at("points", 0, "eps", to=0.1)), NO_FIELD),
    "a guarantee in words": (operator(at("guarantee", to="epsilon 0.1")), NO_FIELD),
    "a guarantee as a name": (operator(at("epsilon 0.1 holds", to={})), NO_FIELD),
    "a name that is a path": (operator(at("points", 0, "metrics.hr@10", to=0.9)), NO_FIELD),
    "a word in the metrics": (
        operator(lambda f: f["points"][0].setdefault("metrics", {}).update(status="covered")),
        NO_FIELD,
    ),
    "words for a figure": (
        operator(at("points", 0, "trained_parameters", to="epsilon 0.1")), "expected no words"),
    "a note of a release": (
        operator(at("points", 0, "releases", "update", "eps", to=0.1)), NO_FIELD),
    "a note of the ledger": (operator(at("points", 0, "ledger", "eps", to=0.1)), NO_FIELD),
    "a note of the machine": (operator(at("environment", to={"eps": 0.1})), NO_FIELD),
    "a note in the seal": (note_in_the_seal, NO_FIELD),
    "no metrics released": (
        operator(at("points", 0, "released_metrics", to={"releases": [], "hr@10": 0.9})),
        "released_metrics claimed, the ledger shows none",
    ),
    "rounds without end": (
        operator(at("config", "federation", "rounds", to=10**400)), "rounds"),
    "ledger of a long name": (operator(ledger_of_a_long_name), "File name too long"),
    "ledger without end": (
        only_event(SelfComposedDpEvent(GaussianDpEvent(1e5), 10**9)), "count of a release"),
}  # fmt: skip

LIES = {
    "less epsilon": (operator(at("points", 0, "epsilon", to=1.0)), "epsilon = 1 claimed"),
    "another delta": (operator(at("points", 0, "delta", to=1e-9)), "delta = 1e-09 claimed"),
    "another target": (operator(at("points", 0, "epsilon_target", to=1.0)), "epsilon_target = 1"),
    "another adversary": (operator(at("points", 0, "adversary", to="all")), "adversary = 'all'"),
    "more noise": (operator(at("points", 0, "noise_multiplier", to=99.0)), "update: claimed"),
    "more noise everywhere": (more_noise_everywhere, "update: claimed"),
    "fewer rounds": (operator(at("points", 0, "rounds", to=1)), "rounds = 1 claimed"),
    "fewer users": (operator(at("data", "users", to=5)), "cohort"),
    "other settings": (
        operator(at("config", "privacy", "clipping_norm", to=0.01)),
        "clipping_norm",
    ),
    "an epsilon elsewhere": (operator(at("data", "epsilon", to=0.1)), "'data.epsilon': no field"),
    "covered by the guarantee": (
        operator(lambda f: f["points"][0].update(metrics={}, metrics_status="covered")),
        "metrics_status = 'covered' claimed",
    ),
    "promise: less epsilon": (promising(epsilon=0.1), "promise.guarantees[0].epsilon = '0.1'"),
    "promise: another delta": (promising(delta=1e-9), "promise.guarantees[0].delta = '1e-09'"),
    "promise: another ledger": (promising(ledger_head="0" * 64), "guarantees[0].ledger_head"),
    "no promise": (without_promise, "promise = 'None', ledger and settings give"),
    "another kind of noise": (operator(at("points", 0, "noise", to="none")), "noise = 'none'"),
    "no adapter": (operator(at("points", 0, "adapter", to="")), "adapter = ''"),
    "adapter not sealed": (unsealed_adapter, "a file that is sealed"),
    "another policy": (another_policy, "a policy of other settings or another number of users"),
    "a file elsewhere": (out_of_the_folder, "'../outside': sealed, but a link or a name that"),
    "point dropped": (operator(lambda f: f["points"].pop(0)), "missing from a run that is called"),
    "no data": (operator(at("data", to=None)), "users = None: expected"),
}


def _beside(*path, to):
    """Another word of what the first point says of itself beside popularity."""
    return operator(at("points", 0, "compared", "popularity", *path, to=to))


_NOT_THOSE = "points[0].compared.popularity.hr@10: does not follow from the metrics of both"
LIES_OF_COMPARISONS = {
    "above by word alone": (_beside("hr@10", "verdict", to="surely above"), _NOT_THOSE),
    "a larger gain": (_beside("hr@10", "difference", to=0.5), _NOT_THOSE),
    "a surer gain": (_beside("hr@10", "se", to=1e-4), _NOT_THOSE),
    "a tighter interval": (_beside("hr@10", "high", to=0.9), _NOT_THOSE),
    "a gain of no number": (_beside("hr@10", "difference", to="inf"), _NOT_THOSE),
    "what it is below left out": (
        operator(lambda f: f["points"][0]["compared"].pop("popularity")),
        "points[0].compared.popularity: missing",
    ),
    "its own start left out": (
        operator(lambda f: f["points"][0]["compared"].pop("start")),
        "points[0].compared.start: missing",
    ),
    "beside what is not there": (
        operator(lambda f: f["references"].pop("popularity")),
        "points[0].compared.popularity: nothing to compare with",
    ),
    "above over seeds": (
        operator(at("compared", 0, "with", "popularity", "hr@10", "verdict", to="surely above")),
        "compared: does not follow from what the points state",
    ),
    "no word over seeds": (
        operator(lambda f: f.pop("compared")),
        "compared: does not follow from what the points state",
    ),
}


def _parts(found):
    """Everything that is compared with something."""
    same = found["references"].get("same_model")
    return [*found["points"], *([same] if same else [])]


def restated(found):
    """With the word over seeds as it follows from what the points state."""
    means = stated_means([Point(point) for point in found["points"]])
    return found.update(compared=means)


def left_out(*names):
    """References with all comparisons, as if they had never been: of the run, or of its parts."""

    def change(found):
        for part in [found, *_parts(found)]:
            for name in names:
                part.get("references", {}).pop(name, None)
                if part is not found:
                    part["compared"].pop(name, None)
        restated(found)

    return operator(change)


def of_people(users):
    """Every figure over so many people, with the intervals that such had."""

    def change(found):
        parts = _parts(found)
        inner = [each for part in parts for each in part.get("references", {}).values()]
        for part in [*parts, *inner, *found["references"].values()]:
            for name in {"metrics", "validation"} & set(part):
                part[name]["users"] = users
        for beside in (each for part in parts for each in part["compared"].values()):
            for pair in beside.values():
                own = Difference.over([(pair["difference"], pair["se"])], users)
                pair.update(own.stated())
        restated(found)

    return operator(change)


def uncompared_for(people):
    """A reference over other people is compared with nothing."""

    def change(found):
        found["references"]["popularity"]["metrics"]["users"] = people
        for part in _parts(found):
            part["compared"].pop("popularity")
        restated(found)

    return operator(change)


def everywhere(change):
    def all_(found):
        for part in [*found["points"], *found["references"].values()]:
            change(part)

    return operator(all_)


def metric(name, to):
    return operator(at("points", 0, "metrics", name, to=to))


_NOBODYS = "points[0].metrics: no 40 people's ranks give hr@10, ndcg@10, mrr"
_OTHER_PEOPLE = "are evaluated (data.evaluated_users)"
_NO_MACHINE = "environments: expected those in which it was computed"
LIES_OF_OMISSION = {
    "never beside popularity": (left_out("popularity"), "references.popularity: missing"),
    "never beside anything": (
        left_out("popularity", "zero_shot", "local_only", "centralized"),
        "references.zero_shot: missing",
    ),
    "never beside its own start": (left_out("start"), "points[0].references.start: missing"),
    "never beside its own histogram": (
        left_out("popularity_private"), "points[0].references.popularity_private: missing"),
    "beside popularity of others": (uncompared_for(39.0), "popularity.metrics.users = 39.0"),
    "a million people": (of_people(1e6), _OTHER_PEOPLE),
    "three people": (operator(at("data", "evaluated_users", to=3)), _OTHER_PEOPLE),
    "hits of no people": (metric("hr@10", 0.99), _NOBODYS),
    "hits without an error": (metric("hr@10_se", 0.0), _NOBODYS),
    "no negatives": (
        operator(lambda f: f["data"].pop("negatives_drawn")), "data: negatives_drawn is missing"),
    "more items": (operator(at("data", "items", to=10**6)), "results.json says 1000000"),
    "no machine": (everywhere(lambda part: part.pop("environments")), "environments is missing"),
    "an empty machine": (everywhere(lambda part: part.update(environments=[])), _NO_MACHINE),
    "a machine in a word": (everywhere(lambda part: part.update(environments=["x"])), "expected"),
    "no validation": (everywhere(lambda part: part.pop("validation")), "validation is missing"),
}  # fmt: skip


def of_the_same_model(**claimed):
    return operator(lambda found: found["references"]["same_model"].update(claimed))


LIES_OF_THE_SAME_MODEL = {
    "never beside the same model": (left_out("same_model"), "references.same_model: missing"),
    "never beside its start": (
        left_out("start"), "references.same_model.references.start: missing"),
    "more rounds": (of_the_same_model(rounds=60), "same_model.rounds = 60 claimed"),
    "of another seed": (of_the_same_model(seed=7), "same_model.seed = 7 claimed"),
    "of a smaller cohort": (of_the_same_model(cohort=1.0), "same_model.cohort = 1.0 claimed"),
    "never clipped": (of_the_same_model(clipping_norm=None), "clipping_norm = None claimed"),
    "a smaller model": (
        of_the_same_model(trained_parameters=1), "same_model.trained_parameters = 1 claimed"),
}  # fmt: skip
LIES_OF_A_SIMULATION = (
    LIES_OF_COMPARISONS
    | LIES_OF_OMISSION
    | {
        "settings of another run": (
            settings_replaced("config.toml"),
            "config.toml: other settings",
        ),
        "settings of another point": (
            settings_replaced("points/eps-2*.toml"),
            "toml: other settings than the point's",
        ),
        "histogram dropped": (
            dropped("points/eps-2*.popularity.*"),
            "not in the seal, and expected there",
        ),
        "a figure of results.csv": (table_edited("results.csv"), "results.csv: says other than"),
        "epsilon of results.parquet": (
            table_edited("results.parquet"),
            "results.parquet: says other than results.json",
        ),
        "report dropped": (dropped("report.html"), "'report.html': not in the seal, and expected"),
        "meaning of no budget": (
            operator(at("points", 1, "meaning", to={"exceeds": 0.0, "groups": {"2": 0.1}})),
            "meaning claimed, and an epsilon of infinity has none",
        ),
        "adapters of two points swapped": (files_of_two_points, "promise.guarantees[0].epsilon"),
        "one adapter for two points": (
            operator(lambda f: f["points"][0].update(adapter=f["points"][1]["adapter"])),
            "claimed 2 times",
        ),
        "seeded noise called secure": (
            operator(at("points", 0, "noise", to="from the operating system's generator")),
            "promise.noise = 'seeded",
        ),
        "a better reference, covered": (
            operator(at("references", "zero_shot", "metrics_status", to="released")),
            "references.zero_shot.metrics_status = 'released' claimed",
        ),
    }
)
