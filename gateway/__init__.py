"""The OpenAI-compatible HTTP surface; never sees a tensor."""
