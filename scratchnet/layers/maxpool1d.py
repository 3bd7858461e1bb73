"""Max-pool over time: eq. 4 and 6."""

from __future__ import annotations

from scratchnet.backend import kernels_of
from scratchnet.layers.geometry import Padding, check_padding, check_pool_padding, pad_1d, positive
from scratchnet.layers.layer import Array, Layer, as_float, check_gradient, check_shape


class MaxPool1D(Layer):
    """y[n, c, t] = max_k x[n, c, t·stride + k − left]; the gradient goes to the winner alone, the first of equals.

    x (N, C, T) → y (N, C, T'), T' = ⌊(T + left + right − kernel_size) / stride⌋ + 1, or ⌈…⌉ with `ceil_mode`
    (a last window may then hang over the end, but must start inside, as in PyTorch). Padding never wins.
    `stride` None: as long as the kernel.
    Raises ValueError for a wrong option, or an x of another shape or shorter than the kernel.
    """

    def __init__(self, kernel_size: int, stride: int | None = None, padding: Padding = 0, ceil_mode: bool = False):
        super().__init__()
        self.kernel_size = positive(kernel_size, "kernel_size")
        self.stride = positive(kernel_size if stride is None else stride, "stride")
        self.padding = check_padding(padding, 1)
        self.ceil_mode = ceil_mode

    def padding_of(self, length: int) -> tuple[int, int]:
        """The padding of so many positions, in numbers. Raises ValueError where they are too few."""
        padding = pad_1d(self.padding, length, self.kernel_size, self.stride)
        check_pool_padding((padding,), (self.kernel_size,))
        if length + sum(padding) < self.kernel_size:
            raise ValueError(f"{self!r} takes at least {self.kernel_size} positions, not {length}")
        return padding

    def forward(self, x: Array, training: bool = False) -> Array:
        check_shape(self, x, 3, shape="(N, C, T)")
        x = as_float(x)
        self._length = x.shape[2]
        padding = self.padding_of(self._length)
        y, self._argmax = kernels_of(x).maxpool1d_forward(x, self.kernel_size, self.stride, padding, self.ceil_mode)
        return y

    def backward(self, dy: Array) -> Array:
        dy = check_gradient(self, dy, self._argmax.shape)
        return kernels_of(dy).maxpool1d_backward(dy, self._argmax, self._length)

    def extra_repr(self) -> str:
        text = f"{self.kernel_size}, stride={self.stride}"
        text += f", padding={self.padding!r}" if self.padding != 0 else ""
        return text + (", ceil_mode=True" if self.ceil_mode else "")
