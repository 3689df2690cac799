"""Where everything stands in a prompt."""

from services.llm import tokenizer as t
from services.llm.model.fusion import Modality
from services.llm.prompt import Media, Message, Role, Text, lay_out
from services.llm.tokenizer import Tokenizer

PICTURE = Media(Modality.IMAGE, 3, b"key")


def test_a_conversation_is_framed_as_the_model_was_taught(tokenizer: Tokenizer) -> None:
    messages = [Message(Role.SYSTEM, (Text("be"),)), Message(Role.USER, (PICTURE, Text("what")))]
    newline = tokenizer.encode("\n")
    expected = [
        *(tokenizer.special(name) for name in t.BEGIN),
        *[tokenizer.special(t.SYSTEM), *newline, *tokenizer.encode("be")],
        *[tokenizer.special(t.USER), *newline, tokenizer.special(t.BEGIN_IMAGE)],
        *[tokenizer.special(t.IMAGE)] * 3,
        *[tokenizer.special(t.END_IMAGE), *tokenizer.encode("what")],
        *[tokenizer.special(t.ASSISTANT), *newline],
    ]
    assert lay_out(messages, tokenizer).token_ids == expected
    thinking = lay_out(messages, tokenizer, enable_thinking=True).token_ids
    assert thinking == [*expected, tokenizer.special(t.THINK)]


def test_spans_pieces_and_salts_point_at_their_tokens(tokenizer: Tokenizer) -> None:
    messages = [
        Message(Role.USER, (Text("a"),)),
        Message(Role.ASSISTANT, (Text("b"),)),
        Message(Role.USER, (PICTURE, Text("cd"))),
    ]
    prompt = lay_out(messages, tokenizer)
    (span,) = prompt.spans
    assert prompt.token_ids[span.start : span.end] == [tokenizer.special(t.IMAGE)] * 3
    (begin,) = prompt.salts
    assert prompt.token_ids[begin] == tokenizer.special(t.USER)
    assert begin < span.start
    words = [tokenizer.decode(prompt.token_ids[p.start : p.end]) for p in prompt.pieces]
    assert [(p.message, p.modality, w) for p, w in zip(prompt.pieces, words, strict=True)] == [
        (0, Modality.TEXT, "a"),
        (2, Modality.IMAGE, ""),
        (2, Modality.TEXT, "cd"),
    ]


def test_the_digest_of_a_message_takes_in_order_and_boundaries() -> None:
    contents: list[tuple[Text | Media, ...]] = [
        (PICTURE, Text("ab")),
        (Text("ab"), PICTURE),
        (PICTURE, Text("a"), Text("b")),
        (Media(Modality.IMAGE, 3, b"other"), Text("ab")),
        (PICTURE, Text("abc")),
    ]
    assert len({Message(Role.USER, parts).digest for parts in contents}) == len(contents)
