"""G.711 against values of the standard's tables."""

import struct

import pytest

from gateway.realtime.g711 import ALAW, ULAW, decode


@pytest.mark.parametrize(
    ("tables", "codes", "samples"),
    [
        (ULAW, b"\x00\x80\xff\x7f\x0f\x8f", (-32124, 32124, 0, 0, -16764, 16764)),
        (ALAW, b"\x2a\xaa\xd5\x55\x00\x80", (-32256, 32256, 8, -8, -5504, 5504)),
    ],
)
def test_codes_become_the_standards_samples(
    tables: tuple[bytes, bytes], codes: bytes, samples: tuple[int, ...]
) -> None:
    assert struct.unpack(f"<{len(codes)}h", decode(codes, tables)) == samples


@pytest.mark.parametrize("tables", [ULAW, ALAW])
def test_each_code_has_a_sample_of_its_own_but_for_the_two_zeros(tables: tuple[bytes, bytes]) -> None:
    samples = struct.unpack("<256h", decode(bytes(range(256)), tables))
    assert len(set(samples)) >= 255
    assert sorted(samples) == sorted(-sample for sample in samples)
