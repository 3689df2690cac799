"""Which encoder `vision.model` names: a native bundle, a published folder, or `dummy:` and a size."""

from pathlib import Path

from servicekit.checkpoint import CheckpointError, architecture_of, read_json
from services.vision.checkpoint import Checkpoint
from services.vision.glm4v import ARCHITECTURE, CONFIG, Glm4vCheckpoint
from services.vision.model.glm4v import Glm4vVisionConfig
from services.vision.native import NativeCheckpoint

DUMMY = "dummy:"
PRESETS = {
    "9b": Glm4vVisionConfig(),
    "4b": Glm4vVisionConfig(
        depth=20, hidden_size=1280, num_heads=10, intermediate_size=8192, out_hidden_size=3072
    ),
    "2b": Glm4vVisionConfig(
        depth=16, hidden_size=1024, num_heads=8, intermediate_size=6144, out_hidden_size=2048
    ),
}


def open_checkpoint(model: Path, min_pixels: int | None = None, max_pixels: int | None = None) -> Checkpoint:
    """Validates what `model` names; raises CheckpointError. The bounds are for published encoders only."""
    if str(model).startswith(DUMMY):
        size = str(model).removeprefix(DUMMY)
        if size not in PRESETS:
            raise CheckpointError(
                f"{model} is no preset; there are {', '.join(DUMMY + key for key in PRESETS)}"
            )
        return Glm4vCheckpoint.dummy(str(model), PRESETS[size], min_pixels, max_pixels)
    if (model / "vision").is_dir() or not (model / CONFIG).exists():
        return NativeCheckpoint.open(model)
    architecture = architecture_of(read_json(model / CONFIG))
    if architecture != ARCHITECTURE:
        raise CheckpointError(
            f"{model / CONFIG}: {architecture} has no vision encoder that is served here; {ARCHITECTURE} has"
        )
    return Glm4vCheckpoint.open(model, min_pixels, max_pixels)
