"""Picture bytes to pixels."""

import numpy as np
from PIL import Image


def fit_square(image: Image.Image, side: int) -> np.ndarray:
    """The picture squeezed into a square, uint8 [side, side, 3]."""
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
