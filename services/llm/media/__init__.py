"""Embeddings from the encoders."""
