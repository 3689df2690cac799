"""The audio API: clips become text."""
