"""One character at a time gives what a whole text gives."""

import torch

from services.speech.model.config import SpeechConfig
from services.speech.model.decoder import SpeechDecoder


def test_a_memory_that_grows_gives_what_one_pass_gives() -> None:
    torch.manual_seed(0)
    decoder = SpeechDecoder(SpeechConfig.tiny(12)).eval()
    states_BSD, ids_BN = torch.randn(2, 9, 32), torch.randint(12, (2, 6))
    with torch.inference_mode():
        memory = decoder.listen(states_BSD)
        steps = torch.cat(
            [decoder(ids_BN[:, :2], memory), *(decoder(ids_BN[:, [n]], memory) for n in range(2, 6))], 1
        )
        for row in range(2):
            logits_NV, looks_LHNS = decoder.attend(ids_BN[[row]], states_BSD[[row]])
            assert torch.allclose(steps[row], logits_NV, atol=1e-5)
            assert torch.allclose(looks_LHNS.sum(-1), torch.ones(2, 2, 6))


def test_rows_can_be_dropped_and_doubled() -> None:
    torch.manual_seed(0)
    decoder = SpeechDecoder(SpeechConfig.tiny(12)).eval()
    states_BSD, ids_BN = torch.randn(3, 9, 32), torch.randint(12, (3, 4))
    with torch.inference_mode():
        memory = decoder.listen(states_BSD)
        decoder(ids_BN, memory)
        memory.select(torch.tensor([2, 2, 0]))
        after = decoder(torch.tensor([[5], [6], [5]]), memory)[:, 0]
        for row, (source, last) in enumerate(((2, 5), (2, 6), (0, 5))):
            text = torch.cat([ids_BN[source], torch.tensor([last])])[None]
            logits_NV, _ = decoder.attend(text, states_BSD[[source]])
            assert torch.allclose(after[row], logits_NV[-1], atol=1e-5)


def test_what_only_fills_a_row_is_not_seen() -> None:
    torch.manual_seed(0)
    decoder = SpeechDecoder(SpeechConfig.tiny(12)).eval()
    states_BSD = torch.randn(2, 9, 32)
    filled_BN = torch.tensor([[0, 0, 0, 5], [0, 5, 6, 7]])
    real_BN = torch.tensor([[False, False, True, True], [True, True, False, True]])
    with torch.inference_mode():
        memory = decoder.listen(states_BSD)
        decoder(filled_BN, memory, real_BN)
        after = decoder(torch.tensor([[8], [8]]), memory)[:, 0]
        for row, text in enumerate(([0, 5, 8], [0, 5, 7, 8])):
            logits_NV, _ = decoder.attend(torch.tensor([text]), states_BSD[[row]])
            assert torch.allclose(after[row], logits_NV[-1], atol=1e-5)
