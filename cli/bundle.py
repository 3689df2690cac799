"""A model bundle on disk: a folder with one sub-folder per service."""

import json
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULT_MODEL = REPOSITORY / "models" / "autoglm-mobile-tiny"
PARTS = {
    "vision": ("config.json", "model.safetensors"),
    "llm": ("config.json", "model.safetensors", "tokenizer.json"),
}


class BundleError(Exception):
    """The folder is not a usable bundle; the message names what is missing."""


def check_bundle(folder: Path) -> None:
    """Raises BundleError unless every file that the services open is there and every config is JSON."""
    if not folder.is_dir():
        raise BundleError(f"There is no model folder {folder}.")
    missing = [
        f"{part}/{name}"
        for part, names in PARTS.items()
        for name in names
        if not (folder / part / name).is_file()
    ]
    if missing:
        raise BundleError(f"{folder} is not a model bundle. Missing: {', '.join(missing)}.")
    for part in PARTS:
        config = folder / part / "config.json"
        try:
            json.loads(config.read_bytes())
        except ValueError as error:
            raise BundleError(f"{config} is not JSON: {error}.") from error


def display_name(folder: Path) -> str:
    """The model's name as people write it, such as `AutoGLM-Mobile-Tiny`."""
    family, dash, rest = folder.resolve().name.partition("-")
    return f"AutoGLM-{rest.title()}" if dash and family == "autoglm" else folder.resolve().name
