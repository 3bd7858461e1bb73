"""Max-pool over an image, as PiczakNet has it."""

from __future__ import annotations

from scratchnet.backend import kernels_of
from scratchnet.layers.geometry import Padding, Pair, check_padding, check_pool_padding, pad_2d, pair
from scratchnet.layers.layer import Array, Layer, as_float, check_gradient, check_shape


class MaxPool2D(Layer):
    """y[n, c, i, j] = the greatest x in a kh×kw window; the gradient goes to the winner alone, the first of equals.

    x (N, C, H, W) → y (N, C, H', W'), sizes as in `MaxPool1D` along each axis. `kernel_size` and `stride`: a number
    or a pair (height, width), `stride` None: the kernel's; `padding`: as in `Conv2D`, but it never wins.
    Raises ValueError for a wrong option, or an x of another shape or smaller than the kernel.
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.stride = self.kernel_size if stride is None else pair(stride, "stride")
        self.padding = check_padding(padding, 2)
        self.ceil_mode = ceil_mode

    def padding_of(self, size: Pair) -> tuple[tuple[int, int], tuple[int, int]]:
        """The padding of an image of this size, in numbers. Raises ValueError where it is too small."""
        padding = pad_2d(self.padding, size, self.kernel_size, self.stride)
        check_pool_padding(padding, self.kernel_size)
        if any(size[i] + sum(padding[i]) < self.kernel_size[i] for i in range(2)):
            raise ValueError(f"{self!r} takes images of at least {self.kernel_size}, not {tuple(size)}")
        return padding

    def forward(self, x: Array, training: bool = False) -> Array:
        check_shape(self, x, 4, shape="(N, C, H, W)")
        x = as_float(x)
        self._size = x.shape[2:]
        padding = self.padding_of(self._size)
        y, self._argmax = kernels_of(x).maxpool2d_forward(x, self.kernel_size, self.stride, padding, self.ceil_mode)
        return y

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self, dy, self._argmax.shape)
        return kernels_of(dy).maxpool2d_backward(dy, self._argmax, self._size)

    def extra_repr(self) -> str:
        text = f"{self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding!r}" if self.padding != 0 else ""
        return text + (", ceil_mode=True" if self.ceil_mode else "")
