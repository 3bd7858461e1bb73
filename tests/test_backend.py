"""Which backend computes, and on what."""

from scratchnet import backend as backends


def test_the_gpu_has_a_name_where_it_computes(backend):
    assert bool(backends.gpu()) == (backend == "cuda")
