"""What stands beside the weights decides how a model talks and samples."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from servicekit.checkpoint import CheckpointError
from services.llm.chat.native import NativeChat
from services.llm.chat.opening import open_chat, read_defaults
from services.llm.chat.published import PublishedChat
from services.llm.checkpoint import Bundle
from services.llm.engine.request import SamplingParams
from services.llm.model.config import DecoderConfig
from tests.bundles import write_tokenizer as write_native_tokenizer
from tests.published import write_tokenizer


@dataclass
class Folder:
    """As much of a bundle as the chat format looks at."""

    folder: Path
    config: DecoderConfig
    native: bool = False


def bundle(folder: Path, *, native: bool = False, **generation: Any) -> Bundle:
    if generation:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    return cast(Bundle, Folder(folder, DecoderConfig.tiny(), native))


def test_each_family_talks_its_own_way(tmp_path: Path) -> None:
    write_native_tokenizer(tmp_path / "tokenizer.json")
    assert isinstance(open_chat(bundle(tmp_path, native=True)), NativeChat)
    write_tokenizer(tmp_path)
    assert isinstance(open_chat(bundle(tmp_path)), PublishedChat)


def test_a_folder_without_a_template_is_refused_by_name(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(CheckpointError, match=r"no chat_template\.jinja"):
        open_chat(bundle(tmp_path))


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        ({}, SamplingParams()),
        ({"temperature": 0.8, "top_p": 0.6, "top_k": 2}, SamplingParams()),
        ({"do_sample": False, "temperature": 0.8}, SamplingParams()),
        ({"do_sample": False, "repetition_penalty": 1.1}, SamplingParams(repetition_penalty=1.1)),
        (
            {"do_sample": True, "temperature": 0.8, "top_p": 0.6, "top_k": 2},
            SamplingParams(temperature=0.8, top_p=0.6, top_k=2),
        ),
        ({"do_sample": True, "top_p": 0.6}, SamplingParams(temperature=1.0, top_p=0.6)),
    ],
)
def test_generation_config_is_read_as_transformers_reads_it(
    generation: dict[str, Any], expected: SamplingParams, tmp_path: Path
) -> None:
    assert read_defaults(bundle(tmp_path, **generation), None) == expected


def test_a_temperature_that_the_service_was_set_to_comes_first(tmp_path: Path) -> None:
    opened = bundle(tmp_path, do_sample=True, temperature=0.8, top_p=0.6)
    assert read_defaults(opened, 0.3) == SamplingParams(temperature=0.3, top_p=0.6)


def test_a_native_bundle_takes_the_likeliest_token(tmp_path: Path) -> None:
    assert read_defaults(bundle(tmp_path, native=True, do_sample=True), None) == SamplingParams()


def test_no_limit_may_be_spelled_as_other_servers_spell_it(tmp_path: Path) -> None:
    assert read_defaults(bundle(tmp_path, do_sample=True, top_k=-1), None).top_k == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [("top_k", -2), ("temperature", "0.8"), ("temperature", -1), ("repetition_penalty", 0), ("top_p", True)],
)
def test_a_default_that_cannot_be_used_prevents_the_start_by_name(
    tmp_path: Path, key: str, value: Any
) -> None:
    with pytest.raises(CheckpointError, match=rf"generation_config\.json: {key} is {value!r}"):
        read_defaults(bundle(tmp_path, do_sample=True, **{key: value}), None)
