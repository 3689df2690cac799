"""The PP-OCR models inside the rapidocr package, run by onnxruntime on one core."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image

from services.vision.text.layout import Quad
from services.vision.text.reader import READ_SIDE

PACKAGES = ("rapidocr", "onnxruntime")


class RapidOCRModel:
    """Simplified Chinese, and what else is printed beside it: Latin letters, digits, marks."""

    def __init__(self, engine: Any):
        self._engine = engine

    @staticmethod
    def installed() -> bool:
        """Whether `load` can work; imports nothing."""
        return all(find_spec(package) for package in PACKAGES)

    @classmethod
    def load(cls) -> Self:
        """Imports the package and reads its weights; nothing is downloaded."""
        import rapidocr

        weights = Path(rapidocr.__file__).parent / "models"
        parameters = {
            "Global.log_level": "error",
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Det.model_path": str(weights / "PP-OCRv6_det_small.onnx"),
            "Det.limit_type": "max",
            "Det.limit_side_len": READ_SIDE,
            "Rec.model_path": str(weights / "PP-OCRv6_rec_small.onnx"),
            "Rec.rec_batch_num": 1,
        }
        model = cls(rapidocr.RapidOCR(params=parameters))
        # Weights are read with the first picture otherwise.
        model.find(Image.new("RGB", (32, 32)))
        model.recognise(Image.new("RGB", (32, 32)))
        return model

    def find(self, image: Image.Image) -> list[Quad]:
        """Where lines stand."""
        result = self._run(image, use_det=True, use_rec=False)
        boxes = getattr(result, "boxes", None)
        return [] if boxes is None else [Quad(*map(float, box.ravel())) for box in boxes]

    def recognise(self, line: Image.Image) -> tuple[str, float]:
        """What a line says, and how sure that is."""
        result = self._run(line, use_det=False, use_rec=True)
        return (result.txts[0], float(result.scores[0])) if result.txts else ("", 0.0)

    def _run(self, image: Image.Image, **parts: bool) -> Any:
        # A tenth of the weights that find lines are smaller than any normal number. Processors multiply those
        # so slowly that finding takes four times as long: this thread, whichever it is, takes them for zero.
        torch.set_flush_denormal(True)
        return self._engine(_bgr(image), use_cls=False, **parts)


def _bgr(image: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])
