"""All kernels but the convolutions, run on the CPU, against the definition."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scratchnet.kernels import cuda, philox, reference
from scratchnet.kernels.cuda import front_end
from scratchnet.kernels.cuda.activations import word
from scratchnet.kernels.cuda.arrays import is_dense, real_name
from scratchnet.kernels.cuda.pooling import cut
from scratchnet.sound import log_melspectrogram, mel_filters
from scratchnet.sound.stft import fft_window
from tests.support import assert_within

REALS = pytest.mark.parametrize("dtype", [np.float32, np.float64])
UNIT = {np.float32: 2.0**-24, np.float64: 2.0**-53}
shapes = st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple)


def draw(shape, dtype=np.float32, seed=0):
    x = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    x.reshape(-1)[seed % 5 :: 5] = 0  # the kinks; where a gradient is drawn with another seed, it is not 0
    return x


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


@REALS
@given(st.integers(1, 20), st.integers(1, 40), st.integers(1, 70), st.booleans())
@example(9, 3, 64, True)  # a row more than a block reads side by side, two blocks of columns
@example(2, 3, 66, True)
def test_dense(host, dtype, n, inputs, outputs, with_bias):
    x, weight, dy = draw((n, inputs), dtype), draw((outputs, inputs), dtype, 1), draw((n, outputs), dtype, 2)
    bias = draw(outputs, dtype, 3) if with_bias else None
    gamma = 2 * (inputs + outputs + n + 2) * UNIT[dtype]
    scale = reference.dense_forward(np.abs(x), np.abs(weight), None if bias is None else np.abs(bias))
    assert_within(cuda.dense_forward(x, weight, bias), reference.dense_forward(x, weight, bias), gamma * scale)
    y = cuda.dense_block_forward(x, weight, bias, 0.4, 5, 6)
    assert_within(y, reference.dense_block_forward(x, weight, bias, 0.4, 5, 6), 2 * gamma * scale)
    scale = reference.dense_block_backward(np.abs(dy), y, np.abs(x), np.abs(weight), 0.4, True, True)
    expected = reference.dense_block_backward(dy, y, x, weight, 0.4, True, True)
    for actual, value, size in zip(cuda.dense_block_backward(dy, y, x, weight, 0.4, True, True), expected, scale):
        assert_within(actual, value, gamma * np.abs(size))


def test_dense_of_no_sample(host):
    x, weight = np.zeros((0, 3), np.float32), draw((4, 3))
    for bias in (None, draw(4)):
        assert cuda.dense_forward(x, weight, bias).shape == (0, 4)
    dweight, dbias = cuda.dense_backward_weight(x, np.zeros((0, 4), np.float32))
    assert dweight.shape == (4, 3) and not dweight.any() and dbias.shape == (4,) and not dbias.any()


@REALS
@given(st.data())
def test_maxpool(host, dtype, data):
    kernel = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    size = tuple(k + data.draw(st.integers(0, 7)) for k in kernel)
    padding = tuple((data.draw(st.integers(0, k // 2)), data.draw(st.integers(0, k // 2))) for k in kernel)
    ceil_mode = data.draw(st.booleans())
    x = np.round(draw((2, 3, *size), dtype))  # ties
    if data.draw(st.booleans()):
        x.reshape(-1)[3] = np.nan
    order = data.draw(st.permutations(range(4)))
    x = x.transpose(order).copy().transpose(np.argsort(order))  # any memory order
    y, argmax = cuda.maxpool2d_forward(x, kernel, stride, padding, ceil_mode)
    for actual, expected in zip((y, argmax), reference.maxpool2d_forward(x, kernel, stride, padding, ceil_mode)):
        np.testing.assert_array_equal(actual, expected)
    dy = draw(y.shape, dtype, 1)
    # Both add an element's gradients one window after another, in the windows' order: the same bits.
    for places in (argmax, np.ascontiguousarray(argmax)):
        np.testing.assert_array_equal(
            cuda.maxpool2d_backward(dy, places, size), reference.maxpool2d_backward(dy, argmax, size)
        )


@REALS
def test_cut(host, dtype):
    """ReLU behind a pool."""
    y, argmax = draw((3, 100), dtype), np.arange(300, dtype=np.int32).reshape(3, 100)
    y[1, 7] = np.nan
    expected = np.where(y <= 0, 0, y), np.where(y <= 0, -1, argmax)
    cut(y, argmax)
    np.testing.assert_array_equal(y, expected[0])
    np.testing.assert_array_equal(argmax, expected[1])


def test_maxpool_in_one_dimension(host):
    x = draw((2, 3, 20))
    y, argmax = cuda.maxpool1d_forward(x, 5, 3, (1, 2), True)
    expected = reference.maxpool1d_forward(x, 5, 3, (1, 2), True)
    np.testing.assert_array_equal(y, expected[0])
    np.testing.assert_array_equal(argmax, expected[1])
    np.testing.assert_array_equal(cuda.maxpool1d_backward(y, argmax, 20), reference.maxpool1d_backward(y, argmax, 20))


@REALS
@given(st.integers(1, 20), st.integers(1, 70))
@example(600, 3)  # more rows than the block that adds them up has threads
def test_softmax_cross_entropy(host, dtype, n, classes):
    logits, target = 5 * draw((n, classes), dtype), np.random.default_rng(1).integers(0, classes, n)
    loss, p = cuda.softmax_cross_entropy_forward(logits, target)
    exact_loss, exact_p = reference.softmax_cross_entropy_forward(logits.astype(np.float64), target)
    # exp and log within 2 units, arguments of up to 40 within half a unit, a sum of `classes` terms; then exp again.
    error = (2 * 40 + classes + 8) * UNIT[dtype]
    assert loss.shape == () and loss.dtype == dtype
    assert_within(p, exact_p, error * exact_p + np.finfo(dtype).tiny)
    assert_within(loss, exact_loss, error * (1 + abs(exact_loss)))
    # One subtraction and one division.
    expected = reference.softmax_cross_entropy_backward(p, target)
    assert_within(cuda.softmax_cross_entropy_backward(p, target), expected, 2 * UNIT[dtype] * np.abs(expected))


@pytest.mark.parametrize("place", [0, 3, 33, 69])
def test_nan_among_the_logits(host, place):
    """Wherever it stands, and whichever lane finds it: the row's loss and all of its probabilities are NaN."""
    logits = draw((2, 70))
    logits[1, place] = np.nan
    loss, p = cuda.softmax_cross_entropy_forward(logits, np.array([0, 1]))
    assert np.isnan(loss) and np.isnan(p[1]).all() and not np.isnan(p[0]).any()


@REALS
def test_logits_of_any_size(host, dtype):
    """The largest is taken off first: nothing overflows, wherever it stands."""
    logits = np.full((65, 70), -(10.0 ** (4 if dtype == np.float32 else 300)), dtype)
    logits[np.arange(65), np.arange(65)] *= -1
    loss, p = cuda.softmax_cross_entropy_forward(logits, np.arange(65))
    assert loss == 0
    np.testing.assert_array_equal(p, np.eye(65, 70))


def test_no_such_class(host):
    """A GPU cannot raise: the loss says NaN, and nothing is read out of bounds."""
    for target in (-1, 3):
        assert np.isnan(cuda.softmax_cross_entropy_forward(draw((2, 3)), np.array([0, target]))[0])


@REALS
def test_mean_squared_error(host, dtype):
    for shape in ((1,), (3, 5), (300, 257)):
        prediction, target = draw(shape, dtype), draw(shape, dtype, 1)
        loss = cuda.mean_squared_error_forward(prediction, target)
        exact = float(((prediction.astype(np.float64) - target) ** 2).mean())
        assert_within(loss, exact, (2 * UNIT[dtype] + prediction.size * 2.0**-53) * exact)
        dprediction = cuda.mean_squared_error_backward(prediction, target)
        np.testing.assert_array_equal(dprediction, reference.mean_squared_error_backward(prediction, target))


def test_two_sums_of_a_block(host, tmp_path):
    """The second one waits until the first has been read, in whatever order the threads run."""
    file = tmp_path / "sums.cu"
    file.write_text("""#include "reduce.cuh"
extern "C" __global__ void two_sums(const double* x, double* y) {
    const double first = block_sum(x[threadIdx.x]), second = block_sum(2 * x[threadIdx.x]);
    if (threadIdx.x == 0) y[0] = first, y[1] = second;
}""")
    x = np.arange(256.0)
    try:
        for host.order in range(20):
            y = np.zeros(2)
            host.launch(str(file), "two_sums", 1, 256, (x, y), {})
            assert y.tolist() == [x.sum(), 2 * x.sum()]
    finally:
        host.order = 0


SIZES = ((1,), (3, 4), (8192,), (9000,), (2, 5, 7))


@REALS
def test_clipping(host, dtype):
    sums = 2 * 18_000 * 2.0**-53  # float64 sums of up to 18,000 squares, on either side
    arrays = [draw(shape, dtype, seed) for seed, shape in enumerate(SIZES)]
    for groups in ([[a] for a in arrays], [arrays[:1], arrays[1:3], arrays[3:]]):
        groups = [[a.copy() for a in group] for group in groups]
        expected = [[a.copy() for a in group] for group in groups]
        exact = reference.squared_norms(expected)
        assert_within(cuda.squared_norms(groups), exact, sums * np.asarray(exact))
        norms = cuda.clip_by_norms(groups, 2.0)
        exact = reference.clip_by_norms(expected, 2.0)
        assert (exact < 2).any() and (exact > 2).any()
        assert_within(norms, exact, sums * exact)
        for a, b in zip(sum(groups, []), sum(expected, [])):
            assert_within(a, b, (4 * UNIT[dtype] + sums) * np.abs(b))  # a factor and a product, rounded, on either side
    many = [draw(2, dtype, seed) for seed in range(300)]  # more chunks than a block has threads
    exact = reference.squared_norms([many])
    assert_within(cuda.squared_norms([many]), exact, sums * np.asarray(exact))
    exact = reference.squared_norm(arrays[3])
    assert_within(cuda.squared_norm(arrays[3]), exact, sums * exact)
    assert_within(cuda.clip_by_norm(np.zeros(5, dtype), 1.0), 0.0, 0.0)


@REALS
def test_optimizers(host, dtype):
    def state():
        return [[draw(shape, dtype, 10 * i + j) for j, shape in enumerate(SIZES)] for i in range(4)]

    params, grads, velocities, _ = state()
    expected = state()
    cuda.nesterov_steps(params, grads, velocities, 0.1, 0.9, 0.01)
    for *actual, param, grad, velocity in zip(params, velocities, *expected[:3]):
        before = np.abs(param) + np.abs(grad) + np.abs(velocity)
        reference.nesterov_step(param, grad, velocity, 0.1, 0.9, 0.01)
        for a, b in zip(actual, (param, velocity)):
            assert_within(
                a, b, 12 * UNIT[dtype] * before
            )  # about six roundings a side (fewer where multiply-adds fuse)
    params, grads, ms, vs = state()
    vs = [np.abs(v) for v in vs]
    expected = state()
    cuda.adam_steps(params, grads, ms, vs, 3, 0.1, 0.9, 0.999, 1e-8, 0.01)
    for a, m, v, param, grad, m2, v2 in zip(params, ms, vs, *expected):
        v2 = np.abs(v2)
        start = param.copy()
        reference.adam_step(param, grad, m2, v2, 3, 0.1, 0.9, 0.999, 1e-8, 0.01)
        assert_within(m, m2, 12 * UNIT[dtype] * (np.abs(m2) + np.abs(grad) + np.abs(start)))
        assert_within(v, v2, 12 * UNIT[dtype] * (v2 + (np.abs(grad) + np.abs(start)) ** 2))
        step = np.abs(param - start) + 0.4 * 12 * (np.abs(grad) + np.abs(start)) / (np.sqrt(v2 / 0.003) + 1e-8)
        assert_within(a, param, 24 * UNIT[dtype] * (np.abs(start) + step))


def test_lists_of_other_lengths_are_refused(host):
    with pytest.raises(ValueError, match="shorter|longer"):
        cuda.nesterov_steps([draw(3), draw(4)], [draw(3)], [draw(3), draw(4)], 0.1, 0.9, 0.0)


def test_one_step_of_one_array(host):
    param, grad, velocity = draw(50), draw(50, seed=1), draw(50, seed=2)
    copies = [a.copy() for a in (param, grad, velocity)]
    cuda.nesterov_step(param, grad, velocity, 0.1, 0.9, 0.0)
    reference.nesterov_step(*copies, 0.1, 0.9, 0.0)
    assert_within(param, copies[0], 12 * 2.0**-24 * (1 + np.abs(copies[0])) * 5)
    assert not np.array_equal(param, draw(50))
    param, grad, m, v = draw(50), draw(50, seed=1), draw(50, seed=2), np.abs(draw(50, seed=3))
    copies = [a.copy() for a in (param, grad, m, v)]
    cuda.adam_step(param, grad, m, v, 2, 0.1, 0.9, 0.999, 1e-8)
    reference.adam_step(*copies, 2, 0.1, 0.9, 0.999, 1e-8)
    assert_within(m, copies[2], 12 * 2.0**-24 * 8)
    assert not np.array_equal(param, draw(50))
    with pytest.raises(ValueError, match="one type"):
        cuda.nesterov_step(param, grad.astype(np.float64), velocity, 0.1, 0.9, 0.0)


def test_arrays_with_gaps_and_in_any_order_change_in_place(host):
    """Parameters and what stands beside them need not lie in memory alike."""
    large, grad, velocity = draw((4, 6)), draw((4, 3), seed=1), draw((3, 4), seed=2).T
    copies = large[:, 1:4].copy(), grad.copy(), velocity.copy()
    cuda.nesterov_step(large[:, 1:4], grad, velocity, 0.1, 0.9, 0.0)
    reference.nesterov_step(*copies, 0.1, 0.9, 0.0)
    assert_within(large[:, 1:4], copies[0], 12 * 2.0**-24 * 5)
    assert_within(velocity, copies[2], 12 * 2.0**-24 * 5)
    np.testing.assert_array_equal(large[:, [0, 4, 5]], draw((4, 6))[:, [0, 4, 5]])
    part = large[:, ::2]
    expected = part.copy()
    cuda.clip_by_norm(part, 1.0)
    reference.clip_by_norm(expected, 1.0)
    assert_within(part, expected, 2 * 2.0**-24)


@pytest.mark.parametrize(
    "n, n_fft, hop, how",
    [
        (1500, 256, 100, {}),
        (900, 64, 64, {"center": False, "top_db": None}),
        (700, 96, 40, {"n_frames": 7, "top_db": 30.0}),  # no power of two: summed as eq. 1 is written
        (40, 128, 16, {}),  # reflected more than once over
        (1, 16, 4, {"top_db": None}),  # one sample, which is its own mirror image
        (20, 1, 3, {"top_db": None}),  # frames of one sample: nothing to be transformed
        (500, 63, 20, {}),  # one less than a power of two
    ],
)
def test_log_mel(host, n, n_fft, hop, how):
    x = draw((2, n))
    x[1] *= 1e-3
    x[:, n // 2 :] *= 1e-5  # these frames lie far under the peak
    n_mels = 12
    filters, window = mel_filters(22050, n_fft, n_mels), fft_window("hann", n_fft)
    options = {"center": True, "top_db": 80.0, **how}
    actual = cuda.log_mel(x, filters, window, hop, **options)
    expected = np.stack(
        [log_melspectrogram(row, 22050, n_fft=n_fft, hop_length=hop, n_mels=n_mels, **options) for row in x]
    )
    # The CPU rounds each power and each sum of up to n_fft powers to float32: 10 log10 turns a relative error e into
    # 4.35 e dB; then a value of up to 160 dB is rounded.
    assert_within(actual, expected, 4.35 * (n_fft + 4) * 2.0**-24 + 4 * 160 * 2.0**-24)


@REALS
@pytest.mark.parametrize("place", [0, 40, 255, 256, 599])
def test_what_lies_under_the_peak_is_lifted_wherever_the_peak_is(host, dtype, place):
    db = draw((3, 600), dtype)
    db[:, place] = 5, 9, 60
    expected = np.maximum(db, db.max(axis=1, keepdims=True) - dtype(6.5))
    host.launch("log_mel.cu", "floor_under_peak", 3, 256, (db, np.int64(600), dtype(6.5)), {"REAL": real_name(dtype)})
    np.testing.assert_array_equal(db, expected)


@pytest.mark.parametrize("n_fft", [2, 21, 32])
def test_log_mel_takes_any_filters(host, n_fft):
    """Also such that see the constant part, which Mel's triangles do not; and a window that sees the first sample."""
    x, window = draw((2, 200)), fft_window("hamming", n_fft)
    filters = np.abs(draw((5, n_fft // 2 + 1), seed=1))
    frames = np.stack([x[:, i : i + n_fft] for i in range(0, 201 - n_fft, 9)], axis=1) * window
    power = np.abs(np.fft.rfft(frames.astype(np.float64))) ** 2
    expected = 10 * np.log10(np.maximum(power @ filters.T.astype(np.float64), 1e-10)).transpose(0, 2, 1)
    actual = cuda.log_mel(x, filters, window, 9, center=False, top_db=None)
    assert_within(actual, expected, 4 * 160 * 2.0**-24)  # float64 until a value of up to 160 dB is rounded


def test_one_value_is_its_own_peak(host):
    x, window = draw((2, 16)), fft_window("hann", 16)
    filters = mel_filters(22050, 16, 1)
    lifted = cuda.log_mel(x, filters, window, 16, center=False, top_db=10.0)
    np.testing.assert_array_equal(lifted, cuda.log_mel(x, filters, window, 16, center=False, top_db=None))


def test_log_mel_of_frames_too_long_for_shared_memory(host, monkeypatch):
    """Each frame has room of its own in global memory, and fills it."""
    monkeypatch.setattr(host, "shared_limit", 1000)
    made, empty = [], host.empty
    monkeypatch.setattr(host, "empty", lambda shape, dtype: made.append(empty(shape, dtype)) or made[-1])
    test_log_mel(host, 1500, 256, 100, {})
    assert [a.size for a in made if a.ndim == 1] == [2 * 16 * (2 * 256 + 129)]
    assert not any(np.isnan(a).any() for a in made)


def test_log_mel_a_few_rows_at_a_time(host, monkeypatch):
    monkeypatch.setattr(front_end, "_rows_at_once", lambda *args: 2)
    x, window, filters = draw((5, 300)), fft_window("hann", 64), mel_filters(22050, 64, 12)
    few = cuda.log_mel(x, filters, window, 32)
    monkeypatch.setattr(host, "shared_limit", 1000)
    for whole in (few, cuda.log_mel(x, filters, window, 32)):
        np.testing.assert_array_equal(whole, np.stack([cuda.log_mel(row[None], filters, window, 32)[0] for row in x]))


def test_log_mel_of_too_little(host):
    with pytest.raises(ValueError, match="n_fft"):
        cuda.log_mel(draw((1, 10)), np.ones((3, 33), np.float32), np.ones(64), 16, center=False)


def test_seeds_are_taken_as_64_bits():
    assert word(-1) == 2**64 - 1 and word(2**64 + 3) == 3


def test_what_is_dense():
    x = np.zeros((3, 4, 1, 5))
    assert is_dense(x) and is_dense(x.transpose(2, 0, 3, 1)) and is_dense(x[:, :, :, :][:1])
    assert not is_dense(x[:, :3]) and not is_dense(x[..., ::2]) and not is_dense(x[::-1])


def test_other_types_are_refused(host):
    with pytest.raises(TypeError, match="float16"):
        cuda.relu_forward(np.ones(3, np.float16))
