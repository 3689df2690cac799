"""Makes torchaudio importable beside a torch that its compiled extension was not built for.

torchaudio's wheels are built for CUDA: beside a CPU build of torch their extension cannot load, and the
package raises OSError on import. Resampling and spectrograms need nothing of it, so a stand-in that offers
nothing takes the extension's place, and only where the real one cannot load. transformers imports torchaudio
whenever it is installed, so it needs the guard too. Call `install` before importing either.
"""

import importlib.machinery
import importlib.util
import sys
import types
from pathlib import Path
from typing import NoReturn

EXTENSION = "torchaudio._extension"


def install() -> None:
    """Registers the stand-in where it is needed; a second call does nothing. Does not import torch."""
    if EXTENSION in sys.modules or "torchaudio" in sys.modules or _extension_loads():
        return
    sys.modules[EXTENSION] = _stand_in()


def _extension_loads() -> bool:
    """True when torchaudio is absent, ships no library for CUDA, or torch brings the libraries it needs."""
    torch, torchaudio = _folder("torch"), _folder("torchaudio")
    if torch is None or torchaudio is None:
        return True
    built_for_cuda = any(b"libc10_cuda" in library.read_bytes() for library in torchaudio.glob("**/*.so"))
    return not built_for_cuda or (torch / "lib" / "libc10_cuda.so").exists()


def _folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _stand_in() -> types.ModuleType:
    module = types.ModuleType(EXTENSION)
    module.__spec__ = importlib.machinery.ModuleSpec(EXTENSION, None)
    module._IS_TORCHAUDIO_EXT_AVAILABLE = False  # type: ignore[attr-defined]
    module._IS_ALIGN_AVAILABLE = False  # type: ignore[attr-defined]
    module._check_cuda_version = lambda: None  # type: ignore[attr-defined]
    module.fail_if_no_align = lambda function: _refuse  # type: ignore[attr-defined]
    return module


def _refuse(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("this function needs torchaudio's compiled extension, which cannot load here")
