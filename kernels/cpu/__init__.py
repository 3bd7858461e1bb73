"""The fast CPU kernels: BLAS through NumPy, and Numba. The same functions as in `kernels/reference.py`."""

from scratchnet.kernels.reference import *  # noqa: F403
from scratchnet.kernels.cpu.convolution import (  # noqa: F401
    conv1d_backward_input,
    conv1d_backward_weight,
    conv1d_forward,
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_forward,
    conv_block_backward,
    conv_block_forward,
)
