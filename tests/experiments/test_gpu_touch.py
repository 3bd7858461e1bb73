"""What compute-sanitizer watches: the small arrays run the networks' kernels, and all ways through them."""

from dataclasses import fields

import numpy as np
import pytest

from experiments.bench import gpu_touch, gpu_way
from experiments.bench.gpu_parts import LAYERS
from scratchnet.kernels.cuda import conv_forward_plan, conv_weight_gradient_plan, convolution, device
from scratchnet.kernels.cuda.conv_shape import Shape
from scratchnet.kernels.cuda.host import HostDevice

H200 = 115_712  # bytes of shared memory that a block may have there, and on an H100
SIZES = (
    "TILE_",
    "WARPS_",
    "STAGES",
    "ROUND",
    "BLOCKS",
    "SPREAD",
)  # macros that cut the work to size; others choose ways


class Noted(HostDevice):
    """Runs nothing, and notes what would run. Arrays begin at whole multiples of 16 bytes, as CuPy's do."""

    def __init__(self, tensor_cores):
        super().__init__(tensor_cores=tensor_cores, shared_limit=H200)
        self.noted = []

    def address(self, a):
        return 0

    def launch(self, file, kernel, grid, block, args, defines, shared=0):
        self.noted.append((kernel, grid, args, defines))


def launches(samples, layers, tensor_cores=True):
    """(kernel, grid, arguments, macros) of every launch of these layers."""
    with device.using(Noted(tensor_cores)) as gpu:
        for size, weights, stride, padding, pool, need_dx in layers.values():
            x, weight, bias = (gpu.empty(shape, "float32") for shape in ((samples, *size), weights, weights[:1]))
            y, saved = convolution.conv_block_forward(x, weight, bias, stride, padding, "relu", pool)
            convolution.conv_block_backward(y, saved, x, weight, stride, padding, need_dx, True)
    return gpu.noted


def ways(found):
    return {(name, *((k, v) for k, v in defines.items() if not k.startswith(SIZES))) for name, _, _, defines in found}


def test_nothing_passes_but_what_rounding_explains():
    worst, expected = gpu_touch.Worst(), np.array([1.0, -4.0])
    worst.add("right", expected * (1 + 1e-5), expected)
    worst.add("right, tf32", expected * (1 + 1e-3), expected)
    for name, wrong in (("far", 4.001), ("nan", np.nan), ("infinite", np.inf)):
        worst.add(name, np.array([wrong, -4.0]), expected)
        worst.add(name, expected, expected)  # does not make up for it
    assert set(worst.beyond_rounding()) == {"far", "nan", "infinite"} and worst["far"] == pytest.approx(3.001 / 4)


@pytest.mark.parametrize("tensor_cores", [True, False])
def test_the_small_arrays_run_the_networks_kernels_in_few_launches(tensor_cores):
    networks, small = launches(8, LAYERS, tensor_cores), launches(*gpu_touch.geometry(True), tensor_cores)
    assert ways(networks) == ways(small)
    assert len(small) < 100 < len(launches(*gpu_touch.geometry(False), tensor_cores)) / 10


def test_the_small_arrays_fill_several_tiles_slices_and_stages(monkeypatch):
    monkeypatch.setattr(conv_weight_gradient_plan, "splits", gpu_touch.few_shares)
    names, several = [field.name for field in fields(Shape)], set()
    for kernel, grid, args, defines in launches(*gpu_touch.geometry(True)):
        if kernel == "conv_forward":
            shape = dict(zip(names, args[2].tolist(), strict=True))
            assert shape["depth_padded"] // conv_forward_plan.SLICE > defines["STAGES"]
            across = -(-shape["channels"] // defines["TILE_M"])
            if grid > across and shape["pool_columns"] > shape["pool_step_column"]:
                several.add(f"tiles behind windows that overlap, window {defines['WINDOW']}")
            if across > 1:
                several.add("tiles of channels")
        elif kernel == "conv_weight_gradient":
            splits, tiles = args[-2:]
            if -(-tiles // splits) > defines["STAGES"]:
                several.add(f"tiles in a share, pooled {defines['POOLED']}, window {defines['WINDOW']}")
            if splits > 1:
                several.add("shares")
    assert several == {
        *(f"tiles behind windows that overlap, window {window}" for window in (0, 1)),
        *(f"tiles in a share, pooled {pooled}, window {window}" for pooled, window in ((0, 0), (1, 0), (1, 1))),
        "tiles of channels",
        "shares",
    }


def test_each_step_of_a_kernels_way_changes_what_it_says():
    size, weights, *_ = LAYERS[gpu_way.LAYER]
    with device.using(Noted(True)) as gpu:

        def launched(step):
            gpu.noted.clear()
            gpu.tensor_cores = step.tf32
            gpu_way.run(step, *(gpu.empty(shape, "float32") for shape in ((4, *size), weights, weights[:1])))
            kernels = [kernel for kernel, *_ in gpu.noted if kernel != "pack_weight"]
            macros = next(defines for kernel, _, _, defines in gpu.noted if kernel == "conv_forward")
            return kernels, macros["STAGES"], "TENSOR_CORES" in macros, macros["WINDOW"]

        found = gpu_way.walk(launched)
    one = ["conv_forward"]
    assert found == [
        (["conv_forward", "relu_forward", "maxpool_forward"], 2, False, 0),
        (one, 2, False, 0), (one, 4, False, 0), (one, 4, True, 0), (one, 4, True, 1),
    ]  # fmt: skip
