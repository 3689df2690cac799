"""The kernels of kernels.c, compiled for this machine when first needed, and kept for the next start.

Where there is no C compiler, or it refuses, there are none, and torch's own operators do the same. What was
compiled lies in ~/.cache/autoglm, or where XDG_CACHE_HOME says, named after all that it depends on.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType

import torch
import torch.nn.functional as F

SOURCE = Path(__file__).with_name("kernels.c")
OPTIONS = ("-O3", "-march=native", "-fopenmp", "-fPIC", "-shared")
ELEMENTS: Mapping[torch.dtype, Sequence[str]] = MappingProxyType(
    {torch.float32: (), torch.bfloat16: ("-DBFLOAT16",)}
)
COMPILE_TIMEOUT_S = 60.0
POINTER, INTEGER, FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float

log = logging.getLogger(__name__)


class Kernels:
    """Calls into a library compiled for one type of elements; all tensors are contiguous, and of that type
    except angles (float32) and places (int64). Shapes and their limits are those of kernels.c."""

    def __init__(self, library: Path):
        code = ctypes.CDLL(str(library))  # its OpenMP is the one that torch has loaded already
        self._attend, self._add_and_norm, self._gate = code.attend, code.add_and_norm, code.gate
        self._attend.argtypes = [*[POINTER] * 7, *[INTEGER] * 6, FLOAT]
        self._add_and_norm.argtypes = [*[POINTER] * 5, INTEGER, INTEGER, FLOAT]
        self._gate.argtypes = [POINTER, POINTER, INTEGER, INTEGER]
        for function in (self._attend, self._add_and_norm, self._gate):
            function.restype = None

    def attend(
        self,
        qkv_BHK: torch.Tensor,
        angles_BP: tuple[torch.Tensor, torch.Tensor],
        layer: torch.Tensor,
        table_BM: torch.Tensor,
        last_B: torch.Tensor,
    ) -> torch.Tensor:
        """Rotates, stores and attends; what the queries saw, [B, heads x K]. `qkv_BHK` is changed."""
        rows, heads, channels = qkv_BHK.shape
        groups, (cosine, sine) = layer.shape[3], angles_BP
        queries = heads - 2 * groups
        out_BD = qkv_BHK.new_empty(rows, queries * channels)
        self._attend(
            *(x.data_ptr() for x in (out_BD, qkv_BHK, cosine, sine, layer, table_BM, last_B)),
            rows,
            table_BM.shape[1],
            groups,
            queries // groups,
            channels,
            cosine.shape[1],
            channels**-0.5,
        )
        return out_BD

    def add_and_norm(
        self,
        x_BD: torch.Tensor,
        y_BD: torch.Tensor,
        weight_y: torch.Tensor | None,
        weight_x: torch.Tensor,
        eps: float,
    ) -> torch.Tensor:
        """Adds y, normed where it has a weight, to x in place; the norm of that. `y_BD` is spoilt."""
        out_BD = torch.empty_like(x_BD)
        of_y = None if weight_y is None else weight_y.data_ptr()
        pointers = (out_BD.data_ptr(), x_BD.data_ptr(), y_BD.data_ptr(), of_y, weight_x.data_ptr())
        self._add_and_norm(*pointers, *x_BD.shape, eps)
        return out_BD

    def gate(self, gate_up_BD: torch.Tensor) -> torch.Tensor:
        """SiLU of the first half, times the second."""
        rows, width = gate_up_BD.shape
        out_BD = gate_up_BD.new_empty(rows, width // 2)
        self._gate(out_BD.data_ptr(), gate_up_BD.data_ptr(), rows, width // 2)
        return out_BD


@cache
def load_kernels(dtype: torch.dtype) -> Kernels | None:
    """For float32 or bfloat16; compiled unless that was done before.

    None, and a line in the log, where it cannot be done.
    """
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        log.info("No C compiler here: decoding goes on without kernels of our own")
        return None
    try:
        kernels = Kernels(_compiled(compiler, (*OPTIONS, *ELEMENTS[dtype])))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # RuntimeError: there is no home
        told = getattr(error, "stderr", None) or str(error)
        log.warning("Decoding goes on without kernels of our own: %s", told)
        return None
    if not _are_right(kernels, dtype):
        log.warning("Decoding goes on without kernels of our own: %s does not compile them right", compiler)
        return None
    return kernels


@torch.inference_mode()
def _are_right(kernels: Kernels, dtype: torch.dtype) -> bool:
    """Whether they compute what torch does; a compiler told to be careless about rounding breaks them."""
    drawn = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=drawn).to(dtype)

    x_BD, y_BD, gate_up_BD, weight_D, length = draw(2, 32), draw(2, 32), draw(2, 64), draw(32), 21
    qkv_BHK, layer = draw(1, 4, 16), draw(3, 16, 2, 1, 16)
    kept = layer[[2, 0]].flatten(0, 1)[:length]
    kept[-1] = qkv_BHK[0, 2:, None]
    keys_SK, values_SK = kept[:, :, 0].unbind(1)
    gate_BD, up_BD = gate_up_BD.chunk(2, dim=-1)
    expected = (
        F.scaled_dot_product_attention(qkv_BHK[0, :2], keys_SK, values_SK).flatten(),
        torch.rms_norm(x_BD + y_BD, [32], weight_D, 1e-5),
        F.silu(gate_BD) * up_BD,
    )
    still_BP = torch.ones(1, 8), torch.zeros(1, 8)
    found = (
        kernels.attend(qkv_BHK, still_BP, layer, torch.tensor([[2, 0]]), torch.tensor([length - 1]))[0],
        kernels.add_and_norm(x_BD, y_BD, None, weight_D, 1e-5),
        kernels.gate(gate_up_BD),
    )
    tolerance = 1e-4 if dtype is torch.float32 else 0.05
    return all(torch.allclose(a, b, tolerance, tolerance) for a, b in zip(found, expected, strict=True))


def _compiled(compiler: str, options: Sequence[str]) -> Path:
    """The library, named after source, options, compiler and processor."""
    named_after = (SOURCE.read_text(), *options, compiler, platform.machine(), _processor())
    name = hashlib.sha256("\n".join(named_after).encode()).hexdigest()[:24]
    library = _folder() / f"kernels-{name}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=library.parent) as aside:
            made = Path(aside) / library.name
            command = [*shlex.split(compiler), *options, str(SOURCE), "-o", str(made), "-lm"]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S)
            made.replace(library)  # at once, since others may be starting too
    return library


def _folder() -> Path:
    """Where libraries are kept; ours alone, since what lies there is run."""
    parent = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(parent) if parent else Path.home() / ".cache") / "autoglm"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _processor() -> str:
    """What it can do: a folder may be shared by machines that differ."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
