"""Pictures in, embeddings out."""
