"""The fast CPU kernels: BLAS through NumPy, and Numba. The same functions as in `kernels/reference.py`.

What is not made faster here is taken from there: elementwise functions, and the losses.
"""

from scratchnet.kernels.cpu.batchnorm import (
    batchnorm_backward,
    batchnorm_forward,
    batchnorm_statistics,
    global_avgpool2d_backward,
    global_avgpool2d_forward,
    norm_block_backward,
    norm_block_forward,
)
from scratchnet.kernels.cpu.convolution import (
    conv1d_backward_input,
    conv1d_backward_weight,
    conv1d_forward,
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_forward,
    conv_block_backward,
    conv_block_forward,
)
from scratchnet.kernels.cpu.dense import dense_backward_input, dense_backward_weight, dense_forward
from scratchnet.kernels.cpu.elementwise import dense_block_backward, dense_block_forward, dropout_forward
from scratchnet.kernels.cpu.maxpool import (
    maxpool1d_backward,
    maxpool1d_forward,
    maxpool2d_backward,
    maxpool2d_forward,
)
from scratchnet.kernels.cpu.update import (
    adam_steps,
    clip_by_norms,
    nesterov_steps,
    squared_norms,
)
from scratchnet.kernels.reference import (
    abs_backward,
    abs_forward,
    mean_squared_error_backward,
    mean_squared_error_forward,
    relu_backward,
    relu_forward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
    tanh_backward,
    tanh_forward,
)

__all__ = [
    "abs_backward",
    "abs_forward",
    "adam_steps",
    "clip_by_norms",
    "batchnorm_backward",
    "batchnorm_forward",
    "batchnorm_statistics",
    "conv1d_backward_input",
    "conv1d_backward_weight",
    "conv1d_forward",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv2d_forward",
    "conv_block_backward",
    "conv_block_forward",
    "dense_backward_input",
    "dense_backward_weight",
    "dense_block_backward",
    "dense_block_forward",
    "dense_forward",
    "dropout_forward",
    "global_avgpool2d_backward",
    "global_avgpool2d_forward",
    "maxpool1d_backward",
    "maxpool1d_forward",
    "maxpool2d_backward",
    "maxpool2d_forward",
    "mean_squared_error_backward",
    "mean_squared_error_forward",
    "nesterov_steps",
    "norm_block_backward",
    "norm_block_forward",
    "relu_backward",
    "relu_forward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "squared_norms",
    "tanh_backward",
    "tanh_forward",
]
