"""Reads what is printed in a picture, for encoders that cannot."""
