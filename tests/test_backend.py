"""Which backend computes, and on what."""

from scratchnet import backend as backends


def test_the_gpu_has_a_name_where_it_computes(backend):
    assert bool(backends.gpu()) == (backend == "cuda")


def test_every_backend_has_the_same_operations():
    """A layer that one of them lacks would fail only there."""
    from scratchnet.kernels import cpu, cuda, reference

    of_gpus_alone = {"available", "gather_segments", "gpu_name", "log_mel", "use_tf32"}
    assert set(cuda.__all__) - of_gpus_alone == set(cpu.__all__)
    assert all(hasattr(reference, name) for name in cpu.__all__)
    parts = {"clip_by_norm", "nesterov_step", "adam_step", "squared_norm", "pooled_length", "dropout_mask", "philox"}
    defined = {name for name, value in vars(reference).items() if callable(value) and not name.startswith("_")}
    assert defined - parts == set(cpu.__all__)
