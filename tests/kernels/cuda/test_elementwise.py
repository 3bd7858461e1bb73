"""Activations and dropout, run on the CPU, against the definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet.kernels import cuda, philox, reference
from scratchnet.kernels.cuda.activations import word
from scratchnet.kernels.cuda.arrays import is_dense
from tests.kernels.cuda.drawing import REALS, UNIT, draw, shapes
from tests.support import assert_within


@REALS
@given(shapes)
def test_activations(host, dtype, shape):
    x, dy = draw(shape, dtype), draw(shape, dtype, 1)
    for name in ("relu", "abs"):
        y = getattr(reference, f"{name}_forward")(x)
        np.testing.assert_array_equal(getattr(cuda, f"{name}_forward")(x), y)
        np.testing.assert_array_equal(
            getattr(cuda, f"{name}_backward")(dy, x), getattr(reference, f"{name}_backward")(dy, x)
        )
    # CUDA's tanh is good to 2 units in the last place (programming guide, "mathematical functions"), NumPy's to 4.
    y = reference.tanh_forward(x)
    assert_within(cuda.tanh_forward(x), y, 12 * UNIT[dtype] * np.abs(y))
    # dy · (1 − y²): three roundings of numbers of at most |dy|, on either side.
    assert_within(cuda.tanh_backward(dy, y), reference.tanh_backward(dy, y), 6 * UNIT[dtype] * np.abs(dy))


def test_activations_in_any_memory_order(host):
    x, dy = draw((3, 4, 5, 6)), draw((3, 4, 5, 6), seed=1)
    for turned in (
        lambda a: a.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
        lambda a: a[:, ::-1],
        lambda a: a[:, :, ::2],
    ):
        a, b = turned(x), turned(dy)
        np.testing.assert_array_equal(cuda.relu_forward(a), reference.relu_forward(a))
        np.testing.assert_array_equal(cuda.relu_backward(b, a), reference.relu_backward(b, a))
        np.testing.assert_array_equal(cuda.relu_backward(np.ascontiguousarray(b), a), reference.relu_backward(b, a))


def test_nan_passes_relu(host):
    assert np.isnan(cuda.relu_forward(np.array([np.nan], np.float32))).all()


@given(shapes, st.sampled_from([0.0, 0.1, 0.5, 0.999]), st.integers(0, 2**63 - 1), st.integers(0, 2**40))
def test_dropout(host, shape, p, seed, offset):
    x = draw(shape)
    np.testing.assert_array_equal(
        cuda.dropout_forward(x, p, seed, offset), reference.dropout_forward(x, p, seed, offset)
    )


@pytest.mark.parametrize("words, expected", [
    ([0] * 6, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ([0xFFFFFFFF] * 6, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0], "d16cfe09 94fdcceb 5001e420 24126ea1"),
])  # fmt: skip
def test_philox_gives_the_published_words(host, tmp_path, words, expected):
    """Known answers of Random123 (Salmon et al. 2011): counter and key of 32-bit words → four words."""
    file = tmp_path / "words.cu"
    file.write_text("""#include "philox.cuh"
extern "C" __global__ void words(index_t block, unsigned long long seed, unsigned long long offset, int* out) {
    const Words words = philox(block, seed, offset);
    for (int i = 0; i < 4; i++) out[i] = (int)words.word[i];
}""")
    block, offset, seed = (low + (high << 32) for low, high in zip(words[::2], words[1::2]))
    out = np.zeros(4, np.int32)
    host.launch(
        str(file), "words", 1, 1, (np.uint64(block).astype(np.int64), np.uint64(seed), np.uint64(offset), out), {}
    )
    assert " ".join(f"{word:08x}" for word in out.view(np.uint32)) == expected


def test_a_word_that_equals_the_threshold_is_kept(host):
    words, x = philox.philox(4, 3, 0), np.ones(4, np.float32)
    for one in words.reshape(-1).tolist():
        p = one / 2**32
        np.testing.assert_array_equal(cuda.dropout_forward(x, p, 3, 0), reference.dropout_forward(x, p, 3, 0))


def test_dropout_mask_goes_by_the_logical_order(host):
    x = draw((3, 4, 5)).transpose(2, 0, 1)
    np.testing.assert_array_equal(cuda.dropout_forward(x, 0.5, 3, 4), reference.dropout_forward(x, 0.5, 3, 4))


def test_seeds_are_taken_as_64_bits():
    assert word(-1) == 2**64 - 1 and word(2**64 + 3) == 3


def test_what_is_dense():
    x = np.zeros((3, 4, 1, 5))
    assert is_dense(x) and is_dense(x.transpose(2, 0, 3, 1)) and is_dense(x[:, :, :, :][:1])
    assert not is_dense(x[:, :3]) and not is_dense(x[..., ::2]) and not is_dense(x[::-1])


def test_other_types_are_refused(host):
    with pytest.raises(TypeError, match="float16"):
        cuda.relu_forward(np.ones(3, np.float16))
