"""The fast CPU kernels: BLAS through NumPy, and Numba."""

from scratchnet.kernels.reference import *  # noqa: F403
