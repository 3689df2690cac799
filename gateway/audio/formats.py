"""A transcript in OpenAI's formats: json, text, srt, vtt, verbose_json."""

import math
import zlib
from collections.abc import Callable
from typing import Any

from fastapi.responses import JSONResponse, PlainTextResponse, Response

from gateway.audio.schemas import TranscriptionForm
from gateway.speech import Segment, Transcript


def render(transcript: Transcript, form: TranscriptionForm) -> Response:
    """The answer in the format that was asked for."""
    match form.response_format:
        case "text":
            return PlainTextResponse(transcript.text + "\n")
        case "srt":
            return PlainTextResponse(to_srt(transcript), media_type="application/x-subrip")
        case "vtt":
            return PlainTextResponse(to_vtt(transcript), media_type="text/vtt")
        case "verbose_json":
            return JSONResponse(to_verbose(transcript, form.timestamp_granularities, form.temperature))
        case "json":
            return JSONResponse({"text": transcript.text, "usage": _usage(transcript)})


def to_srt(transcript: Transcript) -> str:
    """SubRip: numbered cues."""
    return "".join(
        f"{index}\n{_cue(segment, _srt_time)}\n" for index, segment in enumerate(transcript.segments, 1)
    )


def to_vtt(transcript: Transcript) -> str:
    """WebVTT (W3C)."""
    return "WEBVTT\n\n" + "".join(f"{_cue(segment, _vtt_time)}\n" for segment in transcript.segments)


def to_verbose(
    transcript: Transcript, granularities: tuple[str, ...] = (), temperature: float = 0.0
) -> dict[str, Any]:
    """Text with times: segments unless only words are asked for; a word is one written character."""
    verbose: dict[str, Any] = {
        "task": "transcribe",
        "language": transcript.language,
        "duration": round(transcript.duration_s, 3),
        "text": transcript.text,
        "usage": _usage(transcript),
    }
    if "segment" in granularities or not granularities:
        verbose["segments"] = [
            _verbose_segment(index, segment, temperature) for index, segment in enumerate(transcript.segments)
        ]
    if "word" in granularities:
        verbose["words"] = [
            {"word": one.text, "start": round(one.start_s, 3), "end": round(one.end_s, 3)}
            for segment in transcript.segments
            for one in segment.characters
        ]
    return verbose


def _verbose_segment(index: int, segment: Segment, temperature: float) -> dict[str, Any]:
    """`tokens` and `no_speech_prob` belong to another kind of recogniser: empty and 0."""
    raw = segment.text.encode()
    return {
        "id": index,
        "seek": round(segment.start_s * 100),
        "start": round(segment.start_s, 3),
        "end": round(segment.end_s, 3),
        "text": segment.text,
        "tokens": [],
        "temperature": temperature,
        "avg_logprob": math.log(max(segment.confidence, 1e-9)),
        "compression_ratio": len(raw) / len(zlib.compress(raw)),
        "no_speech_prob": 0.0,
    }


def _usage(transcript: Transcript) -> dict[str, Any]:
    return {"type": "duration", "seconds": round(transcript.duration_s, 3)}


def _cue(segment: Segment, time: Callable[[float], str]) -> str:
    text = segment.text.replace("-->", "→")  # an arrow would begin another cue
    return f"{time(segment.start_s)} --> {time(segment.end_s)}\n{text}\n"


def _srt_time(seconds: float) -> str:
    return _vtt_time(seconds).replace(".", ",")


def _vtt_time(seconds: float) -> str:
    minutes, ms = divmod(round(seconds * 1e3), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{ms // 1000:02}.{ms % 1000:03}"
