"""torchaudio beside a torch that its extension was not built for."""

import subprocess
import sys

import pytest

IMPORTS_NO_TORCH = """
import sys
from servicekit import torchaudio_guard
torchaudio_guard.install()
torchaudio_guard.install()
assert "torch" not in sys.modules
"""
RESAMPLES = """
from servicekit import torchaudio_guard
torchaudio_guard.install()
import torch, torchaudio
assert torchaudio.functional.resample(torch.ones(320), 16000, 8000).shape == (160,)
"""
FEEDS_TRANSFORMERS = """
from servicekit import torchaudio_guard
torchaudio_guard.install()
import torchaudio.transforms
assert torchaudio.transforms.Spectrogram(64)(__import__("torch").ones(640)).isfinite().all()
"""
NAMES_WHAT_IS_MISSING = """
from servicekit import torchaudio_guard
try:
    torchaudio_guard._stand_in().fail_if_no_align(print)()
except RuntimeError as error:
    assert "extension" in str(error)
else:
    raise SystemExit("nothing was raised")
"""
LEAVES_THE_REAL_ONE_ALONE = """
import sys, types
real = sys.modules["torchaudio"] = types.ModuleType("torchaudio")
from servicekit import torchaudio_guard
torchaudio_guard.install()
assert torchaudio_guard.EXTENSION not in sys.modules
"""


@pytest.mark.parametrize(
    "program",
    [IMPORTS_NO_TORCH, RESAMPLES, FEEDS_TRANSFORMERS, NAMES_WHAT_IS_MISSING, LEAVES_THE_REAL_ONE_ALONE],
    ids=["no torch", "resamples", "spectrogram", "names what is missing", "leaves the real one alone"],
)
def test_a_fresh_process(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
