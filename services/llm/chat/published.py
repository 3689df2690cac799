"""The chat format of a published checkpoint: its template, its tokenizer.

Text never becomes a control token. Where a message spells one, a stand-in that no message holds goes
through the template in its place; then the template's own control tokens are found, and each stretch of
text between them is encoded with the spelling put back. So every other conversation gets exactly the
tokens that the official rendering gives it.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, groupby, pairwise
from pathlib import Path

from services.llm.chat.byte_level import ByteLevelTokenizer
from services.llm.chat.format import ChatError
from services.llm.chat.template import ChatTemplate
from services.llm.model.fusion import Modality
from services.llm.prompt import Media, MediaSpan, Message, Prompt, Role, Text
from services.llm.vocabulary import Channel, Mark

IMAGE = "<|image|>"
ROLES = {Role.SYSTEM: "system", Role.USER: "user", Role.ASSISTANT: "assistant"}
STAND_INS = range(0xF0000, 0xFFFFE)  # private use: no text that means something to anybody else


class PublishedChat:
    """Lays conversations out as the checkpoint's own template does."""

    def __init__(self, folder: Path, *, pictures: bool):
        """Raises ValueError when tokenizer or template are not there."""
        self._tokenizer = ByteLevelTokenizer(folder / "tokenizer.json")
        self._template = ChatTemplate.read(folder)
        self._image = self._tokenizer.control.get(IMAGE) if pictures else None
        names = sorted(self._tokenizer.control, key=len, reverse=True)
        self._control = re.compile(f"({'|'.join(map(re.escape, names))})" if names else "(?!)")

    @property
    def vocab_size(self) -> int:
        return self._tokenizer.vocab_size

    @property
    def longest_token(self) -> int:
        return self._tokenizer.longest_token

    @property
    def marks(self) -> Mapping[int, Mark]:
        return self._tokenizer.marks

    def bytes_of(self, token_id: int) -> bytes:
        return self._tokenizer.bytes_of(token_id)

    def name_of(self, token_id: int) -> bytes:
        return self._tokenizer.name_of(token_id)

    def decode(self, token_ids: Sequence[int]) -> str:
        return self._tokenizer.decode(token_ids)

    def lay_out(self, messages: Sequence[Message], *, enable_thinking: bool | None = None) -> Prompt:
        """A picture's place is widened to its tokens. Unless set, thinking is left to the template."""
        messages = [replace(message, parts=_whole(message.parts, self._control)) for message in messages]
        stand_ins = _StandIns(self._control, messages)
        options = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
        turns = [
            {"role": ROLES[message.role], "content": self._content(message, stand_ins)}
            for message in messages
        ]
        pictures = [medium for message in messages for medium in message.media]
        prompt = self._tokens(self._template.render(turns, **options), stand_ins, pictures)
        if self._opens_thought(prompt.token_ids):
            prompt.opening = Mark(Channel.REASONING, "")  # official servers do not repeat it either
        return prompt

    def _content(self, message: Message, stand_ins: "_StandIns") -> str | list[dict[str, str]]:
        """A list only where it must be: older templates take strings alone."""
        texts = [stand_ins.hide(part.text) for part in message.parts if isinstance(part, Text)]
        if not message.media and (len(texts) < 2 or not self._template.takes_parts):
            return "\n".join(texts)
        hidden = iter(texts)
        return [
            {"type": "text", "text": next(hidden)} if isinstance(part, Text) else {"type": "image"}
            for part in message.parts
        ]

    def _tokens(self, rendered: str, stand_ins: "_StandIns", pictures: Sequence[Media]) -> Prompt:
        prompt, placed = Prompt(), 0
        for index, piece in enumerate(self._control.split(rendered)):
            if index % 2 == 0:
                prompt.token_ids += self._tokenizer.encode(stand_ins.show(piece))
            elif self._tokenizer.control[piece] != self._image:
                prompt.token_ids.append(self._tokenizer.control[piece])
            else:
                if placed < len(pictures):
                    self._place(prompt, pictures[placed])
                placed += 1
        if placed != len(pictures):
            raise ChatError(
                f"The chat template makes room for {placed} pictures where {len(pictures)} are shown."
            )
        return prompt

    def _place(self, prompt: Prompt, picture: Media) -> None:
        if self._image is None or picture.modality is not Modality.IMAGE:
            raise ChatError("The chat template takes text and pictures.")
        start = len(prompt.token_ids)
        prompt.token_ids += [self._image] * picture.token_count
        prompt.spans.append(MediaSpan(picture, start, len(prompt.token_ids)))
        prompt.salts[start] = picture.key

    def _opens_thought(self, token_ids: Sequence[int]) -> bool:
        """Whether the last thing the template wrote, but for white space, opens a thought."""
        for token_id in reversed(token_ids):
            if token_id in self.marks:
                return self.marks[token_id].channel is Channel.REASONING
            if self.bytes_of(token_id).strip() or token_id in self._tokenizer.control.values():
                return False
        return False


def _whole(parts: Sequence[Text | Media], control: re.Pattern[str]) -> tuple[Text | Media, ...]:
    """The same parts, but neighbours in one where a control token would be spelled across their border."""
    found: list[Text | Media] = []
    for is_text, run in groupby(parts, lambda part: isinstance(part, Text)):
        neighbours = list(run)
        if not is_text:
            found += neighbours
            continue
        texts = [part.text for part in neighbours if isinstance(part, Text)]
        whole, ends = "".join(texts), [*accumulate(map(len, texts))]
        spelled = [match.span() for match in control.finditer(whole)]
        kept = [end for end in ends if not _is_inside(end, spelled)]
        found += [Text(whole[start:end]) for start, end in pairwise([0, *kept])]
    return tuple(found)


def _is_inside(place: int, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether a place lies within one of the spans, which are in order and do not overlap."""
    before = bisect_left(spans, (place,)) - 1
    return before >= 0 and place < spans[before][1]


class _StandIns:
    """Keeps what text spells like control tokens out of the template's sight."""

    def __init__(self, control: re.Pattern[str], messages: Sequence[Message]):
        texts = [part.text for message in messages for part in message.parts if isinstance(part, Text)]
        spelled = sorted({name for text in texts for name in control.findall(text)})
        used = set().union(*texts) if spelled else set()
        free = (chr(code) for code in STAND_INS if chr(code) not in used)
        self._stand_in = dict(zip(spelled, free, strict=False))
        self._spelling = {stand_in: name for name, stand_in in self._stand_in.items()}
        self._control = control

    def hide(self, text: str) -> str:
        return self._control.sub(lambda found: self._stand_in[found[0]], text) if self._stand_in else text

    def show(self, text: str) -> str:
        for stand_in, name in self._spelling.items():
            text = text.replace(stand_in, name)
        return text
