"""The picture encoder."""
