"""The `autoglm` command."""
