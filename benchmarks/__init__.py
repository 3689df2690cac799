"""Measures a running server from outside, over HTTP."""
