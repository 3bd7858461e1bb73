"""Every operation on a GPU: CUDA C kernels of our own (*.cu), launched through CuPy; matrix products by cuBLAS.

The names and arguments are those of `scratchnet.kernels.reference`. Nothing here waits for the GPU: losses and norms
come back as arrays on the device. CuPy is imported at the first launch.
"""

from scratchnet.kernels.cuda.activations import (
    abs_backward,
    abs_forward,
    dropout_forward,
    relu_backward,
    relu_forward,
    tanh_backward,
    tanh_forward,
)
from scratchnet.kernels.cuda.batches import gather_segments
from scratchnet.kernels.cuda.batchnorm import (
    batchnorm_backward,
    batchnorm_forward,
    batchnorm_statistics,
    global_avgpool2d_backward,
    global_avgpool2d_forward,
    norm_block_backward,
    norm_block_forward,
)
from scratchnet.kernels.cuda.convolution import (
    conv1d_backward_input,
    conv1d_backward_weight,
    conv1d_forward,
    conv2d_backward_input,
    conv2d_backward_weight,
    conv2d_forward,
    conv_block_backward,
    conv_block_forward,
)
from scratchnet.kernels.cuda.dense import (
    dense_backward_input,
    dense_backward_weight,
    dense_block_backward,
    dense_block_forward,
    dense_forward,
)
from scratchnet.kernels.cuda.device import available, gpu_name, use_tf32
from scratchnet.kernels.cuda.front_end import log_mel
from scratchnet.kernels.cuda.losses import (
    mean_squared_error_backward,
    mean_squared_error_forward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
)
from scratchnet.kernels.cuda.optimizers import (
    adam_steps,
    clip_by_norms,
    nesterov_steps,
    squared_norms,
)
from scratchnet.kernels.cuda.pooling import maxpool1d_backward, maxpool1d_forward, maxpool2d_backward, maxpool2d_forward

__all__ = [
    "abs_backward",
    "abs_forward",
    "adam_steps",
    "available",
    "batchnorm_backward",
    "batchnorm_forward",
    "batchnorm_statistics",
    "clip_by_norms",
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
    "gather_segments",
    "global_avgpool2d_backward",
    "global_avgpool2d_forward",
    "gpu_name",
    "log_mel",
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
    "use_tf32",
]
