"""A model on disk: our own bundle, with one sub-folder per service, or a published Hugging Face folder."""

import json
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULT_MODEL = REPOSITORY / "models" / "autoglm-mobile-tiny"
PARTS = {
    "vision": ("config.json", "model.safetensors"),
    "llm": ("config.json", "model.safetensors", "tokenizer.json"),
}
SPEECH = "speech", ("config.json", "characters.json", "model.safetensors")  # a bundle may be without
PUBLISHED = {  # architecture -> services that open the folder
    "Glm4ForCausalLM": ("llm",),
    "GlmForCausalLM": ("llm",),
    "Glm4vForConditionalGeneration": ("vision", "llm"),
}
DUMMY = "dummy:"


class BundleError(Exception):
    """The folder is not a usable model; the message names what is missing."""


def check_bundle(folder: Path) -> tuple[str, ...]:
    """Names of the services that open the folder.

    Raises BundleError unless every file they open is there and every config is JSON. `dummy:` and a size
    stand for weights that are made up.
    """
    if str(folder).startswith(DUMMY):
        return tuple(PARTS)
    if not folder.is_dir():
        raise BundleError(f"There is no model folder {folder}.")
    if (folder / "config.json").is_file() and not (folder / "llm").is_dir():
        return _check_published(folder)
    parts = dict([*PARTS.items(), SPEECH] if (folder / "speech").is_dir() else PARTS)
    missing = [
        f"{part}/{name}"
        for part, names in parts.items()
        for name in names
        if not (folder / part / name).is_file()
    ]
    if missing:
        raise BundleError(f"{folder} is not a model bundle. Missing: {', '.join(missing)}.")
    for part in parts:
        _read_json(folder / part / "config.json")
    return tuple(parts)


def _check_published(folder: Path) -> tuple[str, ...]:
    config = _read_json(folder / "config.json")
    architecture = (config.get("architectures") or ["nothing"])[0]
    if architecture not in PUBLISHED:
        raise BundleError(f"{folder} holds {architecture}, which is not served; {', '.join(PUBLISHED)} are.")
    wanted = ["tokenizer.json"] + ["preprocessor_config.json"] * ("vision" in PUBLISHED[architecture])
    missing = [name for name in wanted if not (folder / name).is_file()]
    if not any(folder.glob("model*.safetensors*")):
        missing.append("model.safetensors")
    if missing:
        raise BundleError(f"{folder} is not a whole checkpoint. Missing: {', '.join(missing)}.")
    return PUBLISHED[architecture]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise BundleError(f"{path} is not JSON: {error}.") from error
    return content if isinstance(content, dict) else {}


def display_name(folder: Path) -> str:
    """The model's name as people write it, such as `AutoGLM-Mobile-Tiny`."""
    family, dash, rest = folder.resolve().name.partition("-")
    return f"AutoGLM-{rest.title()}" if dash and family == "autoglm" else folder.resolve().name
