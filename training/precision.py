"""Whether products may be in bfloat16; sums, losses and weights stay in float32 either way."""

import torch


def multiplies_bfloat16(device: torch.device) -> bool:
    """True where bfloat16 products are much faster than those in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
