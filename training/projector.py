"""The table that carries recognised characters into the language model's embedding space."""

import json
from collections import defaultdict
from pathlib import Path

import torch
from pypinyin import Style, lazy_pinyin
from safetensors.torch import load_file, save_file

from servicekit.shards import WEIGHTS, Shards
from servicekit.weights import SCALE, quantise
from services.llm.tokenizer import Tokenizer

NAME = "projector.weight"


def add_projector(bundle: Path) -> None:
    """Writes the table of `bundle`/speech from the embeddings of `bundle`/llm, in place of an older one."""
    folder = bundle / "speech"
    characters = json.loads((folder / "characters.json").read_text(encoding="utf-8"))
    embeddings = Shards.open(bundle / "llm").read_all()["model.embed_tokens.weight"]
    table = project(characters, Tokenizer(bundle / "llm" / "tokenizer.json"), embeddings)
    weights = load_file(folder / WEIGHTS)
    weights[NAME], weights[NAME + SCALE] = quantise(table)
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["projector_size"] = table.shape[1]
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def project(characters: list[str], tokenizer: Tokenizer, embeddings_VD: torch.Tensor) -> torch.Tensor:
    """One row per character of the recogniser.

    What the language model cannot write is heard as the mean of what sounds alike, or else of its bytes.
    """
    ids = [tokenizer.encode(character) for character in characters]
    alike: defaultdict[str, list[int]] = defaultdict(list)
    for character, tokens in zip(characters, ids, strict=True):
        if len(tokens) == 1:
            alike[_sound(character)].append(tokens[0])
    chosen = [t if len(t) == 1 else alike[_sound(c)] or t for c, t in zip(characters, ids, strict=True)]
    zero = embeddings_VD.new_zeros(embeddings_VD.shape[1])
    return torch.stack([embeddings_VD[tokens].mean(0) if tokens else zero for tokens in chosen])


def _sound(character: str) -> str:
    return "".join(lazy_pinyin(character, style=Style.NORMAL))
