"""An adapter as plain `transformers` and `peft` load it: a folder, with a model card.

adapter_config.json         what PEFT asks: rank, scale, which layers of which base model
adapter_model.safetensors   the pairs A and B of the language model's layers
starling.safetensors        all else that was trained or released, and what a history is read
                            with (docs/adapters.md)
README.md                   the model card
"""

from client.serving.peft.card import Figure, Measured
from client.serving.peft.export import write_peft

__all__ = ["Figure", "Measured", "write_peft"]
