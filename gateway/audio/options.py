"""What a caller may say about the speech to come: its language, and words to listen for."""

import re
from collections.abc import Iterable

from gateway.errors import ApiError, invalid

LANGUAGE = "zh-CN"
LANGUAGES = ("zh", "zh-cn", "zh-hans", "zh-hans-cn", "cmn-hans-cn", "chinese", "mandarin")
MAX_PHRASES = 100

_BETWEEN = re.compile(r"[\s,，、;；。.!！?？:：\"“”]+")


def language_code(language: str | None, param: str) -> str:
    """The contract's code. Raises ApiError 400 for any language but Mandarin."""
    if language and language.lower().replace("_", "-") not in LANGUAGES:
        raise invalid(
            f"The language {language[:32]!r} is not understood; zh (Mandarin) is.",
            param,
            "language_unsupported",
        )
    return LANGUAGE


def hot_words(prompt: str | None, keywords: Iterable[str], param: str) -> tuple[str, ...]:
    """Phrases to listen for: the keywords, and what stands between spaces and punctuation in the prompt.

    Raises ApiError 400 when there are too many.
    """
    found = dict.fromkeys((*keywords, *_BETWEEN.split(prompt or "")))
    phrases = tuple(phrase for phrase in found if phrase.strip())
    if len(phrases) > MAX_PHRASES:
        raise invalid(f"{len(phrases)} phrases; {MAX_PHRASES} are taken.", param, "too_many_phrases")
    return phrases


def check_model(name: str | None, known: Iterable[str], param: str) -> None:
    """Raises ApiError 404 when the model is not served under that name."""
    names = list(known)
    if name and name not in names:
        raise ApiError(
            404, "model_not_found", f"The model {name[:64]!r} is not served; {names[0]} is.", param=param
        )
