"""A random two-layer BERT with a letter tokenizer: everything a backbone has, in milliseconds."""

import string
from pathlib import Path

import numpy as np
import torch

from shared.config import EngineConfig, ModelConfig
from shared.model.adapter import AdapterSchema
from shared.model.backbone import resolve
from shared.model.items import item_vectors
from shared.model.recommender import build_recommender
from simulations.engine import CohortEngine

HIDDEN, LAYERS, LENGTH = 32, 2, 8
# Every trained factor there is, the tied item table included.
RICH = {
    "layers": 0,
    "max_length": LENGTH,
    "lora_rank": 2,
    "lora_targets": ("query", "value", "dense"),
    "item_rank": 3,
    "projection_rank": 4,
}


def save_tiny_bert(folder: Path) -> Path:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    letters = string.ascii_lowercase + string.digits
    words = ["[PAD]", "[UNK]", *letters, *(f"##{letter}" for letter in letters), ".", ","]
    pieces = models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]")
    tokenizer = Tokenizer(pieces)
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=96,
    )
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(0)
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


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


def make_engine(population, backbone: Path, micro_batch: int = 0, **model) -> CohortEngine:
    """An engine over a population; `model` overrides the settings in RICH."""
    config = ModelConfig(backbone=str(backbone), **(RICH | model))
    source = resolve(str(backbone))
    vectors = item_vectors(population.catalogue.texts, source)
    recommender = build_recommender(source, vectors, config)
    return CohortEngine(population, recommender, EngineConfig(micro_batch=micro_batch))


def with_micro_batch(engine: CohortEngine, micro_batch: int) -> CohortEngine:
    return CohortEngine(
        engine.population, engine.recommender, EngineConfig(micro_batch=micro_batch)
    )


def random_adapter(schema: AdapterSchema, seed: int = 0, scale: float = 0.1) -> torch.Tensor:
    """A flat adapter without zeros, so that the gradient of every factor is exercised."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(0, scale, schema.dim).astype(np.float32))


def relative(a, b) -> float:
    """How far a is from b, in units of b's length."""
    a, b = (np.asarray(x, dtype=np.float64) for x in (a, b))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
