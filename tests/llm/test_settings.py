"""Settings that contradict each other are refused."""

import pytest
from pydantic import ValidationError

from services.llm.settings import LLMSettings


def test_steps_that_leave_no_room_for_prompts_are_refused() -> None:
    with pytest.raises(ValidationError, match="max_running must be below max_batch_tokens"):
        LLMSettings(max_batch_tokens=32, max_running=32)


def test_unknown_keys_are_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="max_wating"):
        LLMSettings.model_validate({"max_wating": 3})


def test_the_engine_gets_what_was_set() -> None:
    engine = LLMSettings(kv_cache_bytes=2 << 20, max_running=3, prefix_cache=False).engine
    assert (engine.kv_cache_bytes, engine.max_running, engine.prefix_cache) == (2 << 20, 3, False)
