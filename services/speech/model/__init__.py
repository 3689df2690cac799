"""The recogniser as its figure draws it: features, encoder, decoder. Knows no transport."""
