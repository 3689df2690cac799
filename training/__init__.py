"""Recipes that make the bundled weights."""
