"""G.711 telephone samples (ITU-T G.711, 8 kHz, 8 bits) to 16-bit ones, by table."""

RATE = 8000


def _ulaw(code: int) -> int:
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << (code >> 4 & 0x07)) - 0x84
    return -magnitude if code & 0x80 else magnitude


def _alaw(code: int) -> int:
    code ^= 0x55
    exponent, mantissa = code >> 4 & 0x07, code & 0x0F
    magnitude = (mantissa << 4) + 8 if exponent == 0 else (mantissa << 4) + 0x108 << exponent - 1
    return magnitude if code & 0x80 else -magnitude


def _tables(law: list[int]) -> tuple[bytes, bytes]:
    """Low and high byte of each code's sample."""
    return bytes(sample & 0xFF for sample in law), bytes(sample >> 8 & 0xFF for sample in law)


ULAW = _tables([_ulaw(code) for code in range(256)])
ALAW = _tables([_alaw(code) for code in range(256)])


def decode(codes: bytes, tables: tuple[bytes, bytes]) -> bytes:
    """Little-endian 16-bit samples."""
    samples = bytearray(2 * len(codes))
    samples[0::2], samples[1::2] = (codes.translate(table) for table in tables)
    return bytes(samples)
