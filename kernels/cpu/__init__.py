"""The fast CPU kernels: BLAS through NumPy, and Numba."""
