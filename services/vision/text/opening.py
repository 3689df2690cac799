"""Whether text is read, and by what: `vision.read_text`, and whether the optional packages are there."""

import structlog

from servicekit.settings import SettingsError
from services.vision.checkpoint import Checkpoint
from services.vision.native import NativeCheckpoint
from services.vision.settings import VisionSettings
from services.vision.text.rapid import RapidOCRModel
from services.vision.text.runtime import TextRuntime

log = structlog.get_logger(__name__)


def open_text(settings: VisionSettings, checkpoint: Checkpoint) -> TextRuntime | None:
    """The reader, or None; raises SettingsError where one is demanded that is not installed.

    `auto` reads for native encoders only: published ones read by themselves.
    """
    wanted = settings.read_text == "on" or (
        settings.read_text == "auto" and isinstance(checkpoint, NativeCheckpoint)
    )
    if not wanted:
        return None
    if RapidOCRModel.installed():
        return TextRuntime(RapidOCRModel.load, settings.read_text_seconds, settings.max_image_pixels)
    if settings.read_text == "on":
        raise SettingsError(
            "vision.read_text: on needs rapidocr and onnxruntime; pip install -r requirements-ocr.txt"
        )
    log.info("text in pictures is not read: requirements-ocr.txt is not installed")
    return None
