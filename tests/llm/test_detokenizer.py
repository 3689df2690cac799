"""Whole characters, no stop string, the right channel."""

import pytest

from services.llm.detokenizer import Delta, Detokenizer
from services.llm.engine.request import Logprobs, Token
from services.llm.tokenizer import END, END_THINK, THINK, USER, Tokenizer
from services.llm.vocabulary import Channel


def read(detokenizer: Detokenizer, token_ids: list[int]) -> list[Delta]:
    return [delta for token_id in token_ids for delta in detokenizer.push(token_id)] + detokenizer.flush()


def content(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if delta.channel is Channel.CONTENT)


@pytest.mark.parametrize("text", ["hello", "你好, 世界", "🍎 = émoji", "a\nb"])
def test_text_comes_back_in_whole_characters(tokenizer: Tokenizer, text: str) -> None:
    deltas = read(Detokenizer(tokenizer), tokenizer.encode(text))
    assert content(deltas) == text
    assert all("\ufffd" not in delta.text for delta in deltas)


def test_a_character_in_four_bytes_is_said_once_with_all_its_tokens(tokenizer: Tokenizer) -> None:
    token_ids = tokenizer.encode("🍎")
    assert len(token_ids) == 4
    assert read(Detokenizer(tokenizer), token_ids) == [Delta(Channel.CONTENT, "🍎", tuple(token_ids))]


def test_an_unfinished_character_is_dropped(tokenizer: Tokenizer) -> None:
    assert content(read(Detokenizer(tokenizer), tokenizer.encode("a🍎")[:3])) == "a"


def test_bytes_that_make_no_character_become_a_replacement(tokenizer: Tokenizer) -> None:
    first, *_ = tokenizer.encode("🍎")
    assert content(read(Detokenizer(tokenizer), [first, *tokenizer.encode("b")])) == "\ufffdb"


@pytest.mark.parametrize(
    ("stop", "said"),
    [
        (["lo"], "hel"),
        (["wor", "o w"], "hell"),
        (["hello"], ""),
        (["xyz"], "hello world"),
        (["world!"], "hello world"),
        (["lol", "l"], "he"),
    ],
)
def test_nothing_is_said_from_the_first_stop_string_on(
    tokenizer: Tokenizer, stop: list[str], said: str
) -> None:
    detokenizer = Detokenizer(tokenizer, stop=stop)
    assert content(read(detokenizer, tokenizer.encode("hello world"))) == said
    assert detokenizer.stopped == (said != "hello world")


def test_the_beginning_of_a_stop_string_is_held_back_until_it_is_none(tokenizer: Tokenizer) -> None:
    detokenizer = Detokenizer(tokenizer, stop=["abcd"])
    said = [[delta.text for delta in detokenizer.push(i)] for i in tokenizer.encode("abcabcx")]
    assert said == [[], [], [], ["abc"], [], [], ["abcx"]]


def test_a_stop_string_of_split_characters_is_found(tokenizer: Tokenizer) -> None:
    detokenizer = Detokenizer(tokenizer, stop=["🍎"])
    assert content(read(detokenizer, tokenizer.encode("an 🍎 a day"))) == "an "
    assert detokenizer.token_count == len(tokenizer.encode("an 🍎"))


def test_thinking_goes_to_its_channel_and_is_counted(tokenizer: Tokenizer) -> None:
    thought = [*tokenizer.encode("hm"), tokenizer.special(END_THINK)]
    detokenizer = Detokenizer(tokenizer, opening=tokenizer.marks[tokenizer.special(THINK)])
    deltas = read(detokenizer, [*thought, *tokenizer.encode("yes")])
    assert [(d.channel, d.markup, d.text) for d in deltas] == [
        (Channel.REASONING, "<think>", "h"),
        (Channel.REASONING, "", "m"),
        (Channel.CONTENT, "</think>", ""),
        (Channel.CONTENT, "", "y"),
        (Channel.CONTENT, "", "e"),
        (Channel.CONTENT, "", "s"),
    ]
    assert detokenizer.reasoning_tokens == 3
    assert detokenizer.token_count == 6


def test_a_model_may_begin_to_think_by_itself(tokenizer: Tokenizer) -> None:
    token_ids = [
        tokenizer.special(THINK),
        *tokenizer.encode("a"),
        tokenizer.special(END_THINK),
        *tokenizer.encode("b"),
    ]
    assert content(read(Detokenizer(tokenizer), token_ids)) == "b"


def test_stop_strings_do_not_end_thinking(tokenizer: Tokenizer) -> None:
    token_ids = [*tokenizer.encode("a. b."), tokenizer.special(END_THINK), *tokenizer.encode("yes. no")]
    assert (
        content(
            read(
                Detokenizer(tokenizer, stop=["."], opening=tokenizer.marks[tokenizer.special(THINK)]),
                token_ids,
            )
        )
        == "yes"
    )


def test_special_tokens_are_never_text(tokenizer: Tokenizer) -> None:
    token_ids = [tokenizer.special(USER), *tokenizer.encode("a"), tokenizer.special(END)]
    assert content(read(Detokenizer(tokenizer), token_ids)) == "a"


def test_log_probabilities_stay_with_their_tokens_to_the_last_one(tokenizer: Tokenizer) -> None:
    detokenizer = Detokenizer(tokenizer)
    token_ids = tokenizer.encode("a🍎")[:-1]  # the last character is cut short
    told = [Logprobs(-float(place)) for place in range(len(token_ids))]
    deltas = [d for pair in zip(token_ids, told, strict=True) for d in detokenizer.push(*pair)]
    deltas += detokenizer.flush()
    assert [(d.text, len(d.token_ids)) for d in deltas] == [("a", 1), ("", 3)]
    assert [one for d in deltas for one in d.logprobs] == told


def test_every_token_is_told_though_its_character_was_cut_short(tokenizer: Tokenizer) -> None:
    token_ids = tokenizer.encode("a🍎")[:-1]
    deltas = read(Detokenizer(tokenizer), token_ids)
    assert [one for delta in deltas for one in delta.token_ids] == token_ids
    assert content(deltas) == "a"


def test_a_character_that_a_mark_cuts_off_stays_broken(tokenizer: Tokenizer) -> None:
    first, *_ = tokenizer.encode("🍎")
    token_ids = [first, tokenizer.special(THINK), *tokenizer.encode("b")]
    deltas = read(Detokenizer(tokenizer), token_ids)
    assert content(deltas) == "\ufffd"
    assert [delta.text for delta in deltas if delta.channel is Channel.REASONING][-1] == "b"


def test_tokens_read_together_make_one_piece_of_each_channel(tokenizer: Tokenizer) -> None:
    token_ids = [
        *tokenizer.encode("ab"),
        tokenizer.special(THINK),
        *tokenizer.encode("hm"),
        tokenizer.special(END_THINK),
        *tokenizer.encode("yes. no"),
    ]
    told = [Logprobs(-float(place)) for place in range(len(token_ids))]
    tokens = [Token("r", *pair) for pair in zip(token_ids, told, strict=True)]
    together = Detokenizer(tokenizer, stop=["."]).read(tokens)
    assert [(d.channel, d.markup, d.text) for d in together] == [
        (Channel.CONTENT, "", "ab"),
        (Channel.REASONING, "<think>", "hm"),
        (Channel.CONTENT, "</think>", "yes"),
    ]
    one_by_one = Detokenizer(tokenizer, stop=["."])
    alone = [delta for token in tokens for delta in one_by_one.push(token.token_id, token.logprobs)]
    for name in ("token_ids", "logprobs"):
        assert [x for d in together for x in getattr(d, name)] == [x for d in alone for x in getattr(d, name)]
