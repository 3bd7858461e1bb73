"""Which files `experiments.mutation` changes, and which tests have to notice."""

from __future__ import annotations

from typing import NamedTuple

LAYER_TESTS = "tests/layers tests/oracles/test_torch_layers.py"
CPU_TESTS = "tests/kernels/cpu/test_equal_the_reference.py"


class Target(NamedTuple):
    """Which functions of a file are mutated (a regular expression), and which tests have to notice."""

    functions: str
    tests: str
    backend: str = "reference"  # on which the tests run
    select: str = "not cuda"  # pytest's -k
    compiled: str = ""  # anew: by "numba", or by "g++" what would run on a GPU
    patience: int = 600  # seconds after which it hangs, though it does not compute


def _layer(name: str, test: str) -> Target:
    """The tests of all layers, as far as they are of this one, and its own."""
    tests = f"tests/layers/test_every_layer.py tests/layers/test_{test}.py"
    return Target("forward|backward|next_mask|reseed", tests, select=f"{name} or test_{test}")


# Functions that only choose the faster of equal ways, or how much is done at once: no choice of theirs is wrong.
CHOICES = "_layout|fewest|_vectors|_is_transposed|_density|_skips_zeros|_tall|pieces?|_prefetch.*"
CPU_FILES = {
    "conv_dense": (CPU_TESTS, "blocks or conv"),
    "conv_forward": (f"{CPU_TESTS} tests/kernels/cpu/test_shares.py", "blocks or nan or one_ or vectors"),
    "conv_sparse": (CPU_TESTS, "blocks"),
    "conv_weight": (CPU_TESTS, "blocks or conv"),
    "convolution": (CPU_TESTS, "blocks or conv or nan"),
    "dense": (CPU_TESTS, "dense or sparse"),
    "elementwise": (f"{CPU_TESTS} tests/layers/test_dropout.py", "dense or dropout"),
    "kept": ("tests/kernels/cpu/test_kept.py", "test"),
    "lowering": (f"{CPU_TESTS} tests/kernels/cpu/test_chunks.py", "blocks or conv or nan or chunk or twice"),
    "maxpool": (CPU_TESTS, "pool"),
    "outer": (CPU_TESTS, "blocks or conv"),
    "panels": (CPU_TESTS, "blocks or conv or nan"),
    "transpose": (CPU_TESTS, "sparse or blocks or conv"),
    "winograd": (f"{CPU_TESTS} tests/kernels/cpu/test_winograd.py", "conv or two_outputs"),
    "winograd_weight": (f"{CPU_TESTS} tests/kernels/cpu/test_winograd.py", "conv or two_outputs"),
}
BATCHNORM_TESTS = "tests/layers/test_batchnorm.py tests/kernels/cpu/test_batchnorm.py tests/test_gradcheck_suite.py"
BATCHNORM_NAMES = "test_batchnorm or passes and (batchnorm or globalaverage)"
FUSION_TESTS = "tests/test_fusion.py tests/test_network.py tests/layers/test_batchnorm.py"
UPDATE_TESTS = f"{CPU_TESTS} tests/kernels/cpu/test_update.py tests/test_clipping.py tests/test_optimizers.py"

TARGETS: dict[str, list[Target]] = {
    "kernels/reference.py": [
        Target("conv1d_.*", "tests/layers/test_conv1d.py"),
        Target("conv2d_.*", "tests/layers/test_conv2d.py"),
        Target("dense_(for|back).*", "tests/layers/test_dense.py"),
        Target("maxpool.*|pooled_length", "tests/layers/test_maxpool1d.py tests/layers/test_maxpool2d.py"),
        Target("relu_.*|tanh_.*|abs_.*", "tests/layers/test_activations.py"),
        Target("dropout_.*", "tests/kernels/reference tests/layers/test_dropout.py"),
        Target("softmax_.*|mean_.*", "tests/test_losses.py"),
        Target("(conv|dense)_block_.*", f"tests/test_fusion.py {CPU_TESTS}"),
        Target("batchnorm_.*|norm_block_.*|global_.*", BATCHNORM_TESTS, select=BATCHNORM_NAMES),
    ],
    "kernels/reference_updates.py": [
        Target("squared_norms?|clip_by_norms?", UPDATE_TESTS, select="updates or clipping"),
        Target("nesterov_steps?|adam_steps?", UPDATE_TESTS, select="updates or optimizers"),
    ],
    "kernels/philox.py": [Target("philox", "tests/kernels/reference tests/layers/test_dropout.py")],
    **{f"kernels/cpu/{name}.py": [Target(f"(?!({CHOICES})$).*", tests, "cpu", names)]
       for name, (tests, names) in CPU_FILES.items()},
    "kernels/cpu/update.py": [Target(".*", UPDATE_TESTS, "cpu", "updat or clipping or optimizers")],
    "kernels/cpu/batchnorm.py": [Target(".*", BATCHNORM_TESTS, "cpu", BATCHNORM_NAMES)],
    "kernels/cpu/vectors.py": [Target("(?!prefetch).*", CPU_TESTS, "cpu", compiled="numba")],
    "scratchnet/layers/geometry.py": [Target("pair|pad_.*", LAYER_TESTS)],
    **{
        f"scratchnet/layers/{name}.py": [_layer(name, test)]
        for name, test in {
            "abs": "activations", "conv1d": "conv1d", "conv2d": "conv2d", "decibel": "spectral", "dense": "dense",
            "dropout": "dropout", "flatten": "shapes", "image": "shapes", "maxpool1d": "maxpool1d",
            "maxpool2d": "maxpool2d", "modulus": "spectral", "reflect": "shapes", "relu": "activations",
            "standardize": "shapes", "tanh": "activations",
        }.items()
    },
    "scratchnet/layers/batchnorm.py": [Target("forward|backward", BATCHNORM_TESTS, select=BATCHNORM_NAMES)],
    "scratchnet/layers/global_avgpool.py": [Target("forward|backward", BATCHNORM_TESTS, select=BATCHNORM_NAMES)],
    "scratchnet/losses.py": [Target("backward", "tests/test_losses.py")],
    "scratchnet/training/mixup.py": [Target("backward", "tests/training/test_mixup.py")],
    "scratchnet/clipping.py": [Target("_?clip.*", "tests/test_clipping.py")],
    "scratchnet/optimizers.py": [Target("step|_update", "tests/test_optimizers.py")],
    "scratchnet/fusion.py": [Target("forward|backward|fuse|_[a-z].*", FUSION_TESTS)],
    "scratchnet/network.py": [Target("backward|_run|reseed|_set_frozen|grads", "tests/test_network.py")],
}  # fmt: skip


CONVOLUTIONS = "test_convolution", "test_convolution_tiles", "test_convolution_memory", "test_conv_tiling"
OTHERS = "test_elementwise", "test_dense", "test_maxpool", "test_losses", "test_updates", "test_log_mel"


def _cuda(functions: str, select: str, *files: str) -> Target:
    """Tests of the CUDA kernels, run on the host; where no files are named, those of all but the convolutions."""
    tests = " ".join(f"tests/kernels/cuda/{file}.py" for file in files or OTHERS)
    return Target(functions, tests, "reference", select, "g++")


def _convolution(functions: str = ".*") -> Target:
    return _cuda(functions, "test", *CONVOLUTIONS)


THREADS = "tests/kernels/cpu/test_parallel.py tests/kernels/cpu/test_memory.py"
DROPOUT = "dropout or test_dense or threshold or published"
SUMS = "cross_entropy or logits or squared or clipping or peak or log_mel or two_sums"
LOSSES = "cross_entropy or logits or no_such_class or squared"
UPDATES = "clipping or optimizers or one_step or gaps or lengths"
LOG_MEL = "log_mel or peak"
ALL = "not too_little and not frames_too_long"

EQUAL_WAYS = "tile_widths|_?cost|_blocks|_spread|_warps|_batch|splits"  # to cut the work: what is faster

TARGETS |= {
    **{f"kernels/cuda/{name}": [target] for name, target in {
        "async_copy.cuh": _convolution(),
        "common.cuh": _cuda(".*", "activations or dropout or maxpool or squared"),
        "conv_forward.cu": _convolution(),
        "conv_input_gradient_sparse.cu": _convolution(),
        "conv_pack.cu": _convolution(),
        "conv_shape.cuh": _convolution(),
        "conv_weight_gradient.cu": _convolution(),
        "conv_window.cuh": _convolution(),
        "warp_tile.cuh": _convolution(),
        "conv_forward.py": _convolution(),
        "conv_input_gradient.py": _convolution("(?!sparse_pays).*"),  # of two equal ways the faster
        "conv_forward_plan.py": _convolution(f"(?!({EQUAL_WAYS})$).*"),
        "conv_shape.py": _convolution(),
        "conv_taps.py": _convolution(),
        "conv_tiling.py": _convolution(f"(?!({EQUAL_WAYS})$).*"),
        "conv_weight_gradient_plan.py": _convolution(f"(?!({EQUAL_WAYS})$).*"),
        "conv_weight_gradient.py": _convolution(),
        "convolution.py": _convolution(),
        "batches.cu": _cuda(".*", "gather or as_they_are", "test_batches"),
        "batches.py": _cuda(".*", "test", "test_batches"),
        "batchnorm.cu": _cuda(".*", "test", "test_batchnorm"),
        "batchnorm.py": _cuda(".*", "test", "test_batchnorm"),
        "activations.py": _cuda(".*", f"activations or nan_passes or seeds or {DROPOUT}"),
        "arrays.py": _cuda(".*", ALL, *OTHERS, "test_batchnorm"),
        "dense.cu": _cuda(".*", "test_dense"),
        "dense.py": _cuda(".*", "test_dense"),
        "dropout.cu": _cuda(".*", DROPOUT),
        "philox.cuh": _cuda(".*", DROPOUT),
        "elementwise.cu": _cuda(".*", "activations or nan_passes"),
        "front_end.py": _cuda("(?!_rows_at_once).*", LOG_MEL),
        "log_mel.cu": _cuda(".*", LOG_MEL),
        "losses.cu": _cuda(".*", LOSSES),
        "losses.py": _cuda(".*", LOSSES),
        "optimizers.cu": _cuda(".*", UPDATES),
        "optimizers.py": _cuda(".*", UPDATES),
        "pool.cu": _cuda(".*", "maxpool or cut"),
        "pooling.py": _cuda(".*", "maxpool or cut"),
        "reduce.cuh": _cuda(".*", SUMS),
    }.items()},
    "kernels/cpu/memory.py": [Target(".*", THREADS, "cpu", "not two_predictions and not any_number", patience=60)],
    "kernels/cpu/parallel.py": [Target(".*", THREADS, "cpu", "not two_predictions and not any_number", patience=60)],
}  # fmt: skip
