"""What a person is told of a budget and of what left is what the device's own records hold."""

import json

import pytest

from client.device.agreement import PARTICIPATION
from client.page import html
from client.person.person import Person
from client.person.shown import budget_words, leaving_words, told_budget
from shared.data.sources import open_items
from tests.support.asking import asked
from tests.support.command import command
from tests.support.federations import point_config
from tests.support.privacy.policies import agreed
from tests.support.running.nodes import USERS, Node, request, schema_of, write_log
from tests.support.running.released import publish
from tests.support.tiny import random_adapter

pytestmark = pytest.mark.usefixtures("flower")


@pytest.fixture(scope="module")
def config(tiny_bert):
    return point_config(
        tiny_bert,
        federation={"rounds": 40, "cohort": 1.0, "popularity_start": False},
        privacy={"delta": 1e-2},
    )


@pytest.fixture
def taken(config, tmp_path):
    """A device that took part twice, with the release of that run; what it sent the second time."""
    log = str(write_log(tmp_path))
    model = schema_of(log, config)
    node = Node(tmp_path, log, 0)
    node.caps("epsilon = 1.5\nsums = false\n")
    policy = agreed(config, USERS, model.digest)
    assert not node.refusal(request(model, config, 1, policy))
    about = {"users": USERS, "schema": model.trainable.digest, "policy": policy}
    arrays = model.split(random_adapter(model).numpy())
    update = node.resident.answer(asked(config, "update", 2, arrays=arrays, **about), node.number)
    node.folder.install(publish(tmp_path / "1", config, open_items(log)))
    return node, update


def test_it_is_what_policy_spent_computes(taken):
    node, _ = taken
    who = Person(node.folder)
    (budget,) = who.budget().budgets
    told = json.loads(command("policy", "spent", node.state, "--json").out)
    assert [budget.spent] == [one["epsilon"] for one in told["together"]]
    assert (budget.cap, budget.guarantee.delta) == (1.5, told["together"][0]["delta"])
    assert budget.left == 1.5 - budget.spent > 0
    assert [(kind.kind, kind.times) for kind in budget.kinds] == [("update", 2)]
    assert budget.kinds[0].epsilon == pytest.approx(budget.spent)
    assert told_budget(who.budget())["budgets"][0]["left"] == budget.left
    words = " ".join(budget_words(who.budget()))
    assert "Of the ε = 1.5 that you allow" in words
    assert "is right about at most" in words
    (node.state / "caps.toml").write_text('epsilon = "inf"\n')
    assert "You set no limit" in " ".join(budget_words(who.budget()))


def test_a_message_has_the_bytes_that_are_told(taken):
    node, update = taken
    found = Person(node.folder).leaves()
    assert [(one.kind, one.times) for one in found.sent] == [("update", 2)]
    assert found.sent[0].bytes_each == 4 * update.vector.size
    assert found.known_bytes == 8 * update.vector.size
    assert any("kB" in word or "bytes" in word for word in leaving_words(found))


def test_without_the_runs_release_a_size_is_not_made_up(taken):
    node, _ = taken
    (node.state / "releases" / "current").unlink()
    (one,) = Person(node.folder).leaves().sent
    assert one.bytes_each is None
    assert "not known here" in " ".join(leaving_words(Person(node.folder).leaves()))


def test_the_page_draws_it(taken):
    node, _ = taken
    who = Person(node.folder)
    text = html.page(who, html.Asked())
    (budget,) = who.budget().budgets
    share = f'width="{100 * budget.spent / 1.5:.2f}"'
    assert share in text
    assert "left, of 1.5" in text
    assert "What was contributed before stays" in text  # beside forgetting


def test_a_record_that_was_altered_is_said_and_the_rest_is_shown(taken):
    node, _ = taken
    file = node.state / PARTICIPATION
    file.write_text(file.read_text().replace('"round":1', '"round":7'))
    text = html.page(Person(node.folder), html.Asked())
    assert 'class="why-not"' in text
    assert 'class="shelf"' in text
    assert command("client", "budget", "--state", node.state).code == 3
