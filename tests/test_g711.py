"""G.711 against values of the recommendation's tables, and against itself."""

import numpy as np
import pytest

from serve_app.transports import g711

LAWS: tuple[g711.Law, ...] = ("mu", "a")

# G.711 tables 1 and 2, scaled to 16 bits as the reference code (ITU-T G.191) does.
KNOWN: dict[g711.Law, dict[int, int]] = {
    "mu": {0xFF: 0, 0x7F: 0, 0x80: 32124, 0x00: -32124, 0xFE: 8, 0x8F: 16764, 0xF0: 120},
    "a": {0xD5: 8, 0x55: -8, 0xAA: 32256, 0x2A: -32256, 0xD4: 24, 0xA5: 16896, 0xC5: 264},
}


@pytest.mark.parametrize("law", LAWS)
def test_known_codes(law: g711.Law) -> None:
    codes = bytes(KNOWN[law])
    assert g711.decode(codes, law).tolist() == list(KNOWN[law].values())


@pytest.mark.parametrize("law", LAWS)
def test_every_code_survives_a_round_trip(law: g711.Law) -> None:
    pcm = g711.decode(bytes(range(256)), law)
    again = g711.decode(g711.encode(pcm, law), law)
    assert again.tolist() == pcm.tolist()


@pytest.mark.parametrize("law", LAWS)
def test_every_sample_goes_to_a_nearest_code_of_its_sign(law: g711.Law) -> None:
    pcm = np.arange(-32768, 32768).astype(np.int16)
    decoded = g711.decode(g711.encode(pcm, law), law).astype(int)
    levels = np.unique(g711.decode(bytes(range(256)), law)).astype(int)
    error = np.abs(decoded - pcm)
    step = np.diff(levels).max()
    assert (np.diff(decoded) >= 0).all()
    assert error.max() <= step
    loud = np.abs(pcm.astype(int)) > 1000
    assert (error[loud] / np.abs(pcm[loud].astype(int))).max() < 0.04  # 13 segments: about 38 dB, whatever the level


def test_mu_law_ends_at_full_scale() -> None:
    pcm = np.array([32767, -32768, 0], np.int16)
    assert g711.decode(g711.encode(pcm, "mu"), "mu").tolist() == [32124, -32124, 0]
