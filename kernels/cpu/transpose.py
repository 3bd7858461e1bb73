"""Transposing copies, a square of vectors at a time: number by number, they would take as long as products."""

from __future__ import annotations

from scratchnet.compiled import compiled
from scratchnet.kernels.cpu.processor import BYTES
from scratchnet.kernels.cpu.vectors import prefetch, transpose


def _copy_transposed(matrix, inner, first, size, left, columns, block, width):
    """block[k · width + j] = matrix[(left + j) · inner + first + k] for k < size, j < columns: rows become columns."""
    lanes = BYTES // matrix.itemsize
    for j in range(0, columns, lanes):
        source = (left + j) * inner + first
        whole = size // lanes * lanes if j + lanes <= columns else 0
        for k in range(0, whole, lanes):
            _prefetch_rows(matrix, source + lanes * inner + k, inner, lanes)  # of the next square below
            transpose(matrix, source + k, inner, block, k * width + j, width)
        for i in range(min(lanes, columns - j)):
            for k in range(whole, size):
                block[k * width + j + i] = matrix[source + i * inner + k]


def _prefetch_rows(matrix, first, step, count):
    for i in range(count):
        prefetch(matrix, first + i * step)


_prefetch_rows = compiled(_prefetch_rows)
copy_transposed = compiled(_copy_transposed)
