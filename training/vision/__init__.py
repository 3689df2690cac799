"""The picture encoder's pretrained stem and its features."""
