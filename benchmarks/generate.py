"""transformers' `generate` behind an OpenAI endpoint, in one process: `python -m benchmarks.generate DIR`.

Requests that wait when a batch ends make the next one, as a static batch: all of it is prefilled together and
decoded until its longest answer ends. Pictures are asked about one at a time. A peer to compare with: greedy
only, and requests are not checked.
"""

import asyncio
import json
import queue
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route
from tokenizers.decoders import DecodeStream

from benchmarks.prompts import Prompt, Prompts
from servicekit import torchaudio_guard

GATHER_S = 0.02  # since the last request, for more that were sent with it
MAX_BATCH = 64
DEFAULT_TOKENS = 128

End = None | Exception


@dataclass
class Question:
    """One request: its prompt, and where its tokens go."""

    prompt: Prompt
    max_tokens: int
    tokens: "asyncio.Queue[int | End]" = field(default_factory=asyncio.Queue)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def tell(self, token: int | End) -> None:
        """From any thread: a token, or how it ended."""
        self.loop.call_soon_threadsafe(self.tokens.put_nowait, token)


class Streamer:
    """What `generate` hands each step's tokens to, after the prompt."""

    def __init__(self, questions: Sequence[Question], stops: frozenset[int]):
        self._left = {index: question.max_tokens for index, question in enumerate(questions)}
        self._questions, self._stops, self._seen_prompt = questions, stops, False

    def put(self, tokens: torch.Tensor) -> None:
        """One token for each question; what comes after an end is padding."""
        if not self._seen_prompt:
            self._seen_prompt = True
            return
        for index, token in enumerate(tokens.flatten().tolist()):
            if self._left[index] == 0:
                continue
            self._left[index] = 0 if token in self._stops else self._left[index] - 1
            if token not in self._stops:
                self._questions[index].tell(token)
            if self._left[index] == 0:
                self._questions[index].tell(None)

    def end(self) -> None:
        """Every question has been told its own end."""


class Generator:
    """The model, and a thread that runs one batch after the other."""

    def __init__(self, folder: Path, dtype: torch.dtype, device: str):
        torchaudio_guard.install()
        import transformers

        self.prompts = Prompts(folder)
        architecture = json.loads((folder / "config.json").read_bytes())["architectures"][0]
        model: Any = getattr(transformers, architecture).from_pretrained(folder, dtype=dtype)
        self.model = model.to(device).eval()
        self._stops = frozenset(self.model.generation_config.eos_token_id)
        self._waiting: queue.Queue[Question] = queue.Queue()
        threading.Thread(target=self._work, daemon=True).start()

    def ask(self, question: Question) -> None:
        """Its tokens come when its batch has its turn."""
        self._waiting.put(question)

    def _work(self) -> None:
        while True:
            asked = self._gather()
            texts = [question for question in asked if not question.prompt.pictures]
            for batch in (texts, *([question] for question in asked if question.prompt.pictures)):
                try:
                    if batch:
                        self._run(batch)
                except Exception as error:  # told to those who asked; the next batch is tried
                    for question in batch:
                        question.tell(error)

    def _gather(self) -> list[Question]:
        asked = [self._waiting.get()]
        while len(asked) < MAX_BATCH:
            try:
                asked.append(self._waiting.get(timeout=GATHER_S))
            except queue.Empty:
                break
        return asked

    @torch.inference_mode()
    def _run(self, batch: Sequence[Question]) -> None:
        inputs = self.prompts.pad([question.prompt for question in batch]) | (batch[0].prompt.pictures or {})
        self.model.generate(
            **{name: tensor.to(self.model.device) for name, tensor in inputs.items()},
            max_new_tokens=max(question.max_tokens for question in batch),
            do_sample=False,
            streamer=Streamer(batch, self._stops),
        )


def create_app(generator: Generator, name: str) -> Starlette:
    """The two routes that the benchmarks use."""

    async def models(_: Request) -> JSONResponse:
        return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"}]})

    async def complete(request: Request) -> StreamingResponse:
        body = await request.json()
        prompt = await asyncio.to_thread(generator.prompts.read, body["messages"])
        question = Question(prompt, body.get("max_tokens", DEFAULT_TOKENS))
        generator.ask(question)
        events = _events(question, generator.prompts.tokenizer)
        return StreamingResponse(events, media_type="text/event-stream")

    routes = [Route("/v1/models", models), Route("/v1/chat/completions", complete, methods=["POST"])]
    return Starlette(routes=routes)


async def _events(question: Question, tokenizer: Any) -> AsyncIterator[str]:
    spelling, count = DecodeStream(skip_special_tokens=True), 0
    while isinstance(token := await question.tokens.get(), int):
        count += 1
        if text := spelling.step(tokenizer.backend_tokenizer, token):
            yield _event(choices=[{"index": 0, "delta": {"content": text}}])
    if token is not None:
        yield _event(error={"message": str(token)})
        return
    reason = "length" if count == question.max_tokens else "stop"
    usage = {"prompt_tokens": len(question.prompt.ids), "completion_tokens": count}
    yield _event(choices=[{"index": 0, "delta": {}, "finish_reason": reason}], usage=usage)
    yield "data: [DONE]\n\n"


def _event(**content: Any) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def serve(
    folder: Annotated[Path, typer.Argument(help="A published checkpoint.")],
    port: int = 8000,
    dtype: str = "float32",
    device: str = "cpu",
) -> None:
    """Serves until interrupted."""
    generator = Generator(folder, getattr(torch, dtype), device)
    uvicorn.run(create_app(generator, folder.name), port=port, log_level="warning")


if __name__ == "__main__":
    typer.run(serve)
