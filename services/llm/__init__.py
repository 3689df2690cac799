"""A conversation in, tokens out."""
