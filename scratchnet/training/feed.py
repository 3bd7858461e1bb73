"""How mini-batches reach the network.

On the CPU as they are. On a GPU the whole data set lies where the network is, if it fits there, and a mini-batch is
gathered from it; else each is uploaded while the network learns the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from scratchnet import backend

if TYPE_CHECKING:
    from scratchnet.data import Batches


def mini_batches(batches: Batches, skip: int = 0) -> Iterator[tuple[Any, Any]]:
    """An epoch's (x, label) on the backend in use, without the first `skip`; the same numbers on each.

    x holds its values until the next is asked for.
    """
    if backend.current() != "cuda":
        source: Iterator[tuple[Any, Any]] = iter(batches)
    else:
        from scratchnet.kernels.cuda import device
        from scratchnet.kernels.cuda.batches import upload_ahead
        from scratchnet.training.resident import resident

        if (whole := resident(batches)) is not None:
            yield from whole.mini_batches(batches, skip)
            return
        batches.empty = device.current().empty_pinned
        source = upload_ahead(batches)
    for number, pair in enumerate(source):
        if number >= skip:
            yield pair
