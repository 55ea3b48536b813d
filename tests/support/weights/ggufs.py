"""Tiny GGUF files, written by the package that reads them in earnest."""

from pathlib import Path

import numpy as np

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,Ġ"  # the last stands for a space
MERGES = [("t", "h"), ("e", "r")]
TOKENS = ["<|start|>", "<|end|>", *LETTERS, *("".join(pair) for pair in MERGES)]
SHAPE = {
    "vocab_size": len(TOKENS),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,  # grouped queries
    "intermediate_size": 64,
    "max_position_embeddings": 96,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}


def tiny_causal(family: str, tied: bool = True):
    """A random two-layer causal model."""
    import torch
    import transformers as t

    config, model = {
        "llama": (t.LlamaConfig, t.LlamaForCausalLM),
        "qwen2": (t.Qwen2Config, t.Qwen2ForCausalLM),
    }[family]
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(0)
        made = model(config(**SHAPE, tie_word_embeddings=tied))
        with torch.no_grad():  # biases and norms that are not what a fresh model has
            for name, parameter in made.named_parameters():
                if "norm" in name or "bias" in name:
                    parameter.add_(0.3 * torch.rand_like(parameter))
    return made


def save_gguf(
    folder: Path,
    family: str = "llama",
    *,
    rounded: bool = False,
    tied: bool = True,
    without: str = "",
    named: str = "",
) -> Path:
    """One file as llama.cpp's converter writes it.

    `without`: `tokenizer`, or the end of a tensor's name that is left out; `named`: another
    architecture that it claims to be of.
    """
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize

    model = tiny_causal(family, tied)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{named or family}.gguf"
    writer = GGUFWriter(file, named or family)
    _settings(writer)
    if without != "tokenizer":
        _tokenizer(writer)
    for name, tensor in model.state_dict().items():
        array = tensor.numpy().astype(np.float32)
        if (tied and name.startswith("lm_head")) or (without and name.endswith(without)):
            continue
        if family == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = SHAPE[f"num_{'attention' if 'q_proj' in name else 'key_value'}_heads"]
            array = _interleaved(array, heads)
        if rounded and array.ndim == 2:
            kind = GGMLQuantizationType.Q4_1
            writer.add_tensor(_named(name), quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(_named(name), array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _named(name: str) -> str:
    if name in NAMES:
        return NAMES[name]
    _, _, layer, rest = name.split(".", 3)
    part, _, kind = rest.rpartition(".")
    return f"blk.{layer}.{NAMES[part]}.{kind}"


def _interleaved(weight, heads):
    """Rows of each head as llama.cpp rotates them: halves interleaved."""
    out, width = weight.shape
    split = weight.reshape(heads, 2, out // heads // 2, width)
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(out, width))


def _settings(writer) -> None:
    writer.add_name("tiny")
    writer.add_context_length(SHAPE["max_position_embeddings"])
    writer.add_embedding_length(SHAPE["hidden_size"])
    writer.add_block_count(SHAPE["num_hidden_layers"])
    writer.add_feed_forward_length(SHAPE["intermediate_size"])
    writer.add_head_count(SHAPE["num_attention_heads"])
    writer.add_head_count_kv(SHAPE["num_key_value_heads"])
    writer.add_rope_dimension_count(SHAPE["hidden_size"] // SHAPE["num_attention_heads"])
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(SHAPE["vocab_size"])


def _tokenizer(writer) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3] + [1] * (len(TOKENS) - 2))  # control, then plain
    writer.add_token_merges([" ".join(pair) for pair in MERGES])
    writer.add_bos_token_id(SHAPE["bos_token_id"])
    writer.add_eos_token_id(SHAPE["eos_token_id"])
    writer.add_pad_token_id(SHAPE["pad_token_id"])
