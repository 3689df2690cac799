"""Begins a training from the weights of a bundle, also where its vocabulary has grown."""

from pathlib import Path

import torch

from servicekit.shards import Shards
from services.llm.tokenizer import Tokenizer
from training.model import JointModel


@torch.no_grad()
def start_from(model: JointModel, tokenizer: Tokenizer, bundle: Path) -> None:
    """Copies what the bundle holds; tokens that it does not know keep their random embeddings."""
    model.vision.load_state_dict(Shards.open(bundle / "vision").read_all())
    text = Shards.open(bundle / "llm").read_all()
    old = text.pop("model.embed_tokens.weight") / model.embed_scale
    text["model.norm.weight"] *= model.embed_scale
    gate = {n.removeprefix("gate."): tensor for n, tensor in text.items() if n.startswith("gate.")}
    model.gate.load_state_dict(gate)
    decoder = {n.removeprefix("model."): tensor for n, tensor in text.items() if n.startswith("model.")}
    model.decoder.load_state_dict(decoder, strict=False)
    known = Tokenizer(bundle / "llm" / "tokenizer.json")
    row_of = {_name(known, row): row for row in range(known.vocab_size)}
    embeddings = model.decoder.embed_tokens.weight
    for row in range(tokenizer.vocab_size):
        if (there := row_of.get(_name(tokenizer, row))) is not None:
            embeddings[row] = old[there]


def _name(tokenizer: Tokenizer, token_id: int) -> str | bytes:
    """What a token is, whatever its id; a special token is its place, the same in every native tokenizer."""
    return f"special {token_id}" if tokenizer.is_special(token_id) else tokenizer.bytes_of(token_id)
