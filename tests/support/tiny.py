"""Random two-layer backbones with a letter tokenizer: all that a real one has, in milliseconds."""

import string
from pathlib import Path

import numpy as np
import torch

from shared.config import EngineConfig, ModelConfig
from shared.data.attributes import EXTRA
from shared.model.adapter import AdapterSchema
from shared.model.recommender import build_recommender
from shared.model.sources.choice import find, vectors_of
from simulations.engine.cohort import CohortEngine
from simulations.engine.placement import place

HIDDEN, LAYERS, LENGTH = 32, 2, 8
# Every factor there is, the tied item table and what is released once included.
RICH = {
    "layers": 0,
    "max_length": LENGTH,
    "lora_rank": 2,
    "lora_targets": ("query", "value", "dense"),
    "item_rank": 3,
    "projection_rank": 4,
    "moments_rank": 3,
}


FAMILIES = ("bert", "qwen2", "llama", "gpt2")
POSITIONS = 96


def save_tiny_bert(folder: Path) -> Path:
    return save_tiny(folder, "bert")


def save_tiny(folder: Path, family: str, *, pad: bool = True, **shape) -> Path:
    """A random two-layer backbone of a family; `shape` overrides its configuration.

    Decoders are saved as causal models, with a head and tied words, as they are published.
    """
    save_tokenizer(folder, pad)
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(0)
        _tiny_model(family, shape).save_pretrained(folder)
    return folder


def _words() -> list[str]:
    letters = string.ascii_lowercase + string.digits
    return ["[PAD]", "[UNK]", *letters, *(f"##{letter}" for letter in letters), ".", ","]


def save_tokenizer(folder: Path, pad: bool = True) -> None:
    """A tokenizer of single letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = models.WordPiece({w: i for i, w in enumerate(_words())}, unk_token="[UNK]")
    tokenizer = Tokenizer(pieces)
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    padding = {"pad_token": "[PAD]"} if pad else {}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", **padding)
    fast.save_pretrained(folder)


def _tiny_model(family: str, shape):
    import transformers as t

    common = {
        "vocab_size": len(_words()),
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": POSITIONS,
    }
    # Larger than usual: at its usual 0.02 a random decoder of this width adds almost nothing.
    decoder = {"num_key_value_heads": 1, "initializer_range": 0.2, "tie_word_embeddings": True}
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    if family == "bert":
        return t.BertModel(t.BertConfig(**(common | shape)), add_pooling_layer=False)
    if family == "qwen2":
        return t.Qwen2ForCausalLM(t.Qwen2Config(**(common | decoder | ends | shape)))
    if family == "llama":
        return t.LlamaForCausalLM(t.LlamaConfig(**(common | decoder | ends | shape)))
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    theirs = ("n_embd", "n_layer", "n_head", "n_inner")
    gpt2 = {their: common.pop(name) for their, name in zip(theirs, names, strict=True)}
    gpt2["n_positions"] = common.pop("max_position_embeddings")
    return t.GPT2LMHeadModel(t.GPT2Config(**(common | gpt2 | ends | shape)))


class Edited:
    """A population in which some users' histories are replaced."""

    def __init__(self, population, histories):
        self._population = population
        self._histories = {u: np.array(h, dtype=np.int64) for u, h in histories.items()}

    def __getattr__(self, name):
        return getattr(self._population, name)

    def __len__(self):
        return len(self._population)

    def history(self, user):
        return self._histories.get(user, self._population.history(user))


def make_engine(
    population, backbone: Path, micro_batch: int = 0, engine=None, **model
) -> CohortEngine:
    """An engine over a population; `model` overrides the settings in RICH.

    Attributes and what is released once are drawn, so that whatever trains or ranks meets them.
    """
    settings = EngineConfig(micro_batch=micro_batch, **(engine or {"device": "cpu"}))
    config = ModelConfig(backbone=str(backbone), **(RICH | model))
    sources, texts = find(config), population.catalogue.texts
    vectors = vectors_of(population.catalogue, sources, config)
    vectors[:, -EXTRA:] = np.random.default_rng(9).normal(0, 0.2, (len(vectors), EXTRA))
    recommender = place(build_recommender(sources.reader, vectors, config, texts), settings)
    draw_released(recommender)
    return CohortEngine(population, recommender, settings)


def draw_released(recommender) -> None:
    """Put numbers without zeros into what is released once."""
    holders = recommender.mix, recommender.moments_in, recommender.moments_out
    for number, holder in enumerate(holders):
        if holder is not None:
            drawn = np.random.default_rng(number).normal(0, 0.3, holder.weight.shape)
            holder.weight.data.copy_(torch.from_numpy(drawn))


def with_micro_batch(
    engine: CohortEngine, micro_batch: int, batching: str = "packed"
) -> CohortEngine:
    settings = EngineConfig(micro_batch=micro_batch, batching=batching)
    return CohortEngine(engine.population, engine.recommender, settings)


def random_adapter(schema: AdapterSchema, seed: int = 0, scale: float = 0.1) -> torch.Tensor:
    """A flat adapter without zeros, so that the gradient of every factor is exercised."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(0, scale, schema.dim).astype(np.float32))


def alike(a, b) -> bool:
    """Whether nested plain values are the same, numbers up to the rounding of float32 sums."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or abs(a - b) < 1e-5
    return a == b


def relative(a, b) -> float:
    """How far a is from b, in units of b's length."""
    a, b = (np.asarray(x, dtype=np.float64) for x in (a, b))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
