"""LoRAs as anybody makes them: with plain transformers and peft."""

import warnings
from pathlib import Path

import torch


def save_lora(backbone, folder: Path, head: bool = False, seed: int = 3, **settings) -> Path:
    """A LoRA without zeros on a tiny backbone, saved by peft; `head`: on its causal model."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel, AutoModelForCausalLM

    kind = AutoModelForCausalLM if head else AutoModel
    model = kind.from_pretrained(backbone)
    chosen = {"r": 2, "lora_alpha": 4, "target_modules": ["query", "value"]}
    chosen |= {"task_type": "CAUSAL_LM"} if head else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what peft says of a newer transformers
        adapted = get_peft_model(model, LoraConfig(**chosen | settings))
        generator = torch.Generator().manual_seed(seed)
        for name, tensor in adapted.named_parameters():
            if "lora_" in name:
                tensor.data.normal_(0, 0.1, generator=generator)
        adapted.save_pretrained(folder)
    return folder


def plain_states(backbone, folder: Path, x: torch.Tensor) -> torch.Tensor:
    """What plain libraries give for inputs [length, hidden] under a causal mask."""
    from peft import PeftModel
    from transformers import AutoModel

    base = AutoModel.from_pretrained(backbone, attn_implementation="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = PeftModel.from_pretrained(base, folder).eval()
    mask = torch.full((len(x), len(x)), torch.finfo(x.dtype).min).triu(1)[None, None]
    with torch.no_grad():
        return model(inputs_embeds=x[None], attention_mask=mask).last_hidden_state[0]
