"""Speech in, embeddings and text out."""
