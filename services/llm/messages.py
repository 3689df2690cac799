"""The contract's messages in the words of this house, and back. A refusal names the field."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from autoglm.llm.v1 import llm_pb2
from servicekit.errors import DeadlineExceeded, Internal, InvalidArgument, Unavailable
from services.llm.chat.format import ChatFormat
from services.llm.detokenizer import Delta
from services.llm.engine.request import RANGES, FinishReason, Logprobs, SamplingParams
from services.llm.generation import Finish
from services.llm.media.library import MediaContent
from services.llm.model.fusion import MessageGate, Modality
from services.llm.prompt import Role, Text
from services.llm.vocabulary import Channel

ROLES = {
    llm_pb2.ROLE_SYSTEM: Role.SYSTEM,
    llm_pb2.ROLE_USER: Role.USER,
    llm_pb2.ROLE_ASSISTANT: Role.ASSISTANT,
}
CHANNELS = {
    Channel.CONTENT: llm_pb2.CHANNEL_CONTENT,
    Channel.REASONING: llm_pb2.CHANNEL_REASONING,
}
FINISH_REASONS = {
    FinishReason.STOP: llm_pb2.FINISH_REASON_STOP,
    FinishReason.LENGTH: llm_pb2.FINISH_REASON_LENGTH,
}
MAX_STOPS = 16
RETRY_AFTER_S = 1.0


@dataclass(frozen=True)
class Turn:
    """One message, its media not yet fetched."""

    role: Role
    parts: tuple[Text | MediaContent, ...]

    @property
    def media(self) -> tuple[MediaContent, ...]:
        return tuple(part for part in self.parts if isinstance(part, MediaContent))


def read_turns(messages: Sequence[llm_pb2.ChatMessage], max_parts: int) -> list[Turn]:
    """Raises InvalidArgument, for parts that are more than tokens could be, or do not make a conversation."""
    if not messages:
        raise InvalidArgument("MESSAGES_EMPTY", "A conversation has at least one message.", field="messages")
    if sum(max(1, len(message.parts)) for message in messages) > max_parts:
        raise InvalidArgument(
            "CONTEXT_TOO_LONG", f"The conversation has more than {max_parts} parts.", field="messages"
        )
    return [_turn(message, f"messages[{index}]") for index, message in enumerate(messages)]


def read_sampling(params: llm_pb2.SamplingParams, defaults: SamplingParams) -> SamplingParams:
    """Unset values take the model's defaults. Raises InvalidArgument PARAMETER_OUT_OF_RANGE."""
    given = {field.name: value for field, value in params.ListFields() if field.name in RANGES}
    for name, value in given.items():
        low, high = RANGES[name]
        if not low <= value <= high:
            raise _out_of_range(name, f"{name} lies between {round(low, 6)} and {high}.")
    if len(params.stop) > MAX_STOPS or not all(params.stop):
        raise _out_of_range("stop", f"At most {MAX_STOPS} stop strings are taken, none of them empty.")
    seed = params.seed if params.HasField("seed") else None
    return replace(defaults, **{"max_tokens": RANGES["max_tokens"][1], **given}, seed=seed)


def read_thinking(request: llm_pb2.GenerateRequest | llm_pb2.TokenizeRequest) -> bool | None:
    """None leaves it to the model."""
    return True if request.enable_thinking else False if request.disable_thinking else None


def write_delta(delta: Delta, chat: ChatFormat) -> llm_pb2.GenerateResponse:
    return llm_pb2.GenerateResponse(
        delta=llm_pb2.Delta(
            channel=CHANNELS[delta.channel],
            text=delta.text,
            token_ids=delta.token_ids,
            markup=delta.markup,
            logprobs=[
                _token_logprob(token_id, told, chat)
                for token_id, told in zip(delta.token_ids, delta.logprobs, strict=False)
            ],
        )
    )


def _token_logprob(token_id: int, told: Logprobs, chat: ChatFormat) -> llm_pb2.TokenLogprob:
    def candidate(token_id: int, logprob: float) -> llm_pb2.LogprobCandidate:
        return llm_pb2.LogprobCandidate(
            token_id=token_id, logprob=logprob, token_bytes=chat.name_of(token_id)
        )

    top = [candidate(*one) for one in told.top]
    return llm_pb2.TokenLogprob(token=candidate(token_id, told.logprob), top=top)


def write_finish(
    finish: Finish, prompt_tokens: int, gates: Iterable[MessageGate], receipt: llm_pb2.Receipt
) -> llm_pb2.GenerateResponse:
    """The last message; an end that is no answer is raised as the status it is."""
    if finish.reason is FinishReason.DEADLINE:
        raise DeadlineExceeded("DEADLINE_EXCEEDED", "The deadline passed before the answer was complete.")
    if finish.reason is FinishReason.CANCELLED:
        raise Unavailable("SHUTTING_DOWN", "The service is going away.", retry_after_s=RETRY_AFTER_S)
    if finish.reason is FinishReason.FAILED:
        raise Internal("GENERATION_FAILED", "The backbone could not compute this answer.")
    receipt.queue_ms = finish.queue_seconds * 1e3
    receipt.first_token_ms = finish.first_token_seconds * 1e3
    receipt.total_ms = finish.total_seconds * 1e3
    receipt.steps = finish.steps
    weights = [
        llm_pb2.GateWeights(message_index=gate.message, text=text, image=image, audio=audio)
        for gate in gates
        for text, image, audio in [gate.weights]
    ]
    usage = llm_pb2.Usage(
        prompt_tokens=prompt_tokens,
        cached_tokens=finish.cached_tokens,
        completion_tokens=finish.completion_tokens,
        reasoning_tokens=finish.reasoning_tokens,
    )
    reason = FINISH_REASONS[finish.reason]
    return llm_pb2.GenerateResponse(
        finish=llm_pb2.Finish(reason=reason, usage=usage, gate_weights=weights, receipt=receipt)
    )


def _turn(message: llm_pb2.ChatMessage, field: str) -> Turn:
    role = ROLES.get(message.role)
    if role is None:
        raise InvalidArgument("ROLE_INVALID", "A role is system, user or assistant.", field=f"{field}.role")
    turn = Turn(role, tuple(_part(part, f"{field}.parts[{i}]") for i, part in enumerate(message.parts)))
    if turn.media and role is not Role.USER:
        raise InvalidArgument(
            "CONTENT_UNSUPPORTED", "Only a user shows or says something.", field=turn.media[0].field
        )
    # An assistant may have said nothing: its thinking is not part of the conversation.
    if role is Role.USER and not any(part.text if isinstance(part, Text) else part for part in turn.parts):
        raise InvalidArgument("CONTENT_EMPTY", "A user's message has content.", field=f"{field}.parts")
    return turn


def _part(part: llm_pb2.ContentPart, field: str) -> Text | MediaContent:
    match part.WhichOneof("content"):
        case "text":
            return Text(part.text)
        case "image":
            return MediaContent(Modality.IMAGE, part.image.data, field)
        case "audio":
            return MediaContent(Modality.AUDIO, part.audio.data, field)
        case "embedding":
            return MediaContent.brought(part.embedding, field)
        case _:
            raise InvalidArgument("CONTENT_EMPTY", "A part has content.", field=field)


def _out_of_range(name: str, message: str) -> InvalidArgument:
    return InvalidArgument("PARAMETER_OUT_OF_RANGE", message, field=f"sampling.{name}")
