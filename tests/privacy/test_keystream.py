import numpy as np
import pytest

from hedgerow.privacy.keystream import keystream


def test_the_stream_is_aes_256_in_counter_mode() -> None:
    # FIPS 197, appendix C.3: AES-256 of a block is what counter mode gives for that counter; here for a counter of 0.
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    blocks = b"".join(counter.to_bytes(16, "big") for counter in range(70_000))
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    assert keystream(key, len(blocks)).tobytes() == encryptor.update(blocks)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, (1 << 17) - 1, (1 << 17) + 5])
def test_a_shorter_stream_is_the_beginning_of_a_longer_one(size: int) -> None:
    stream = keystream(b"k" * 32, size)
    assert stream.shape == (size,) and stream.dtype == np.uint8
    assert (stream == keystream(b"k" * 32, size + 100)[:size]).all()


def test_keys_give_unrelated_streams() -> None:
    a, b = (np.unpackbits(keystream(bytes([k]) * 32, 100_000)) for k in (1, 2))
    assert abs(np.mean(a == b) - 0.5) < 5 * 0.5 / len(a) ** 0.5


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="31 bytes"):
        keystream(bytes(31), 1)
