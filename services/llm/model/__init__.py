"""The language model: decoder, attention, gating unit."""
