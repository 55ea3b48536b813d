"""What a causal language model writes, and how likely it finds a text, against plain oracles."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from client.words.facts import Items, facts_of
from client.words.said import TEMPLATE
from client.words.spoken import Case, Speaker
from client.words.writer import Writer, open_writer
from shared.errors import ModelError
from shared.model.sources.causal import CausalModel
from tests.support.running.released import films
from tests.support.tiny import save_tiny

PROMPT = "salt and lanterns"


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def folder(tmp_path_factory, request):
    shape = {"n_positions": 2048} if request.param == "gpt2" else {"max_position_embeddings": 2048}
    return save_tiny(tmp_path_factory.mktemp("causal") / "it", request.param, **shape)


@pytest.fixture(scope="module")
def model(folder):
    return CausalModel(str(folder))


@pytest.fixture(scope="module")
def plain(folder, model):
    """The library's own way, without anything kept between tokens."""
    causal = AutoModelForCausalLM.from_pretrained(folder).eval()

    def logits(ids):
        with torch.no_grad():
            return causal(input_ids=torch.tensor([ids])).logits[0]

    return model._tokenizer, logits


def test_it_writes_the_likeliest_token_each_time(model, plain):
    tokenizer, logits = plain
    endings, wanted = ["glass", "a bakery in lisbon", "g"], []
    for ending in endings:
        ids = [*tokenizer(PROMPT)["input_ids"], *tokenizer(ending)["input_ids"]]
        begun = len(ids)
        for _ in range(12):
            ids.append(int(logits(ids)[-1].argmax()))
            if ids[-1] == tokenizer.eos_token_id:
                break
        wanted.append(tokenizer.decode(ids[begun:], skip_special_tokens=True).strip())
    assert any(wanted)
    assert model.write(PROMPT, endings, 12) == wanted
    assert [model.write(PROMPT, [each], 12)[0] for each in endings] == wanted  # and one by one


def test_a_likelihood_is_the_mean_over_an_endings_tokens(model, plain):
    tokenizer, logits = plain
    endings = ["glass", "a bakery in lisbon", "g"]
    found = model.likelihoods(PROMPT, endings)
    for ending, value in zip(endings, found, strict=True):
        before = tokenizer(PROMPT)["input_ids"]
        row = tokenizer(ending, add_special_tokens=False)["input_ids"]
        logs = torch.log_softmax(logits([*before, *row]), -1)
        each = [float(logs[len(before) + at - 1, token]) for at, token in enumerate(row)]
        assert value == pytest.approx(sum(each) / len(each), abs=1e-4)
    assert model.likelihoods(PROMPT, endings[::-1]) == pytest.approx(found[::-1], abs=1e-5)


def test_what_a_model_makes_up_is_not_shown(folder):
    speaker = Speaker(films(), Writer(str(folder)))
    found = speaker.profile([0, 3, 4])
    assert found.by == TEMPLATE
    assert found.refused
    assert found.text == Speaker(films()).profile([0, 3, 4]).text
    (why,) = speaker.because([Case(1, (4,), ("because you chose Comet Season (1999)",))])
    assert (why.by, why.text[:21]) == (TEMPLATE, "The Last Orbit (1998)")
    assert speaker.profile([]).text.startswith("Nothing is known yet")


def test_a_model_that_reads_too_little_is_refused(tmp_path):
    short = Writer(str(save_tiny(tmp_path / "short", "llama")))
    with pytest.raises(ModelError, match=r"what is asked takes \d+ tokens, and it reads 96"):
        Speaker(films(), short).profile([0, 3, 4])


def test_an_encoder_writes_nothing(tiny_bert):
    with pytest.raises(ModelError, match=r"--writer .*(lacks|cannot be loaded)"):
        open_writer(str(tiny_bert))
    assert open_writer(TEMPLATE) is None


def test_facts_are_counted_as_they_stand_in_the_texts():
    facts = facts_of(Items(films()), [0, 3, 6, 1], [0])
    assert [item.title for item in facts.recent] == [
        "The Last Orbit (1998)",
        "Winter Timetable (1996)",
        "Glass Harbour (1995)",
        "Salt and Lanterns (1994)",
    ]
    assert facts.attributes == (("drama", 3),)
    assert facts.decades == ((1990, 4),)
    assert facts.marked == (("drama", pytest.approx((3 / 4) / (6 / 18))),)
    assert facts.liked == {"Salt and Lanterns (1994)"}
