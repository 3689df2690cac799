"""How a conversation becomes tokens, and tokens an answer: one format per family of models."""
