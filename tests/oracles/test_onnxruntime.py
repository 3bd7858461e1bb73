"""An exported network, run by onnxruntime, gives the same probabilities."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="ONNX is an oracle, not a dependency")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is an oracle, not a dependency")

from scratchnet import layers, nets  # noqa: E402
from scratchnet.errors import InputError  # noqa: E402
from scratchnet.losses import SoftmaxCrossEntropy  # noqa: E402
from scratchnet.network import Network  # noqa: E402
from scratchnet.onnx_export import RULES, export_onnx, main  # noqa: E402
from scratchnet.optimizers import Adam  # noqa: E402

# The bar: 1e-5 of a probability. Both sides compute in float32. A long sum of terms of either sign is off by a few
# units of its own size, ten layers by some 2e-6, and a probability changes by a quarter of what its logit does: that is
# under 1e-5 for logits up to 20.
PROBABILITY, LARGEST = 1e-5, 20


def run(path, x):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"input": x})[0]


def softmax(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    "name, options",
    [
        ("piczaknet", {}),
        ("piczaknet", {"in_channels": 2, "pool_ceil": True}),
        ("heurinet", {}),
        ("mstnet", {}),
        ("melnet", {"mean": -20.0, "std": 15.0}),
        ("melnet", {"power": 1, "top_db": None, "mean": -20.0, "std": 15.0}),
        ("sbcnn", {}),
        ("minivgg", {}),
    ],
)
def test_trained_networks(name, options, tmp_path):
    rng = np.random.default_rng(2)
    net = nets.build(name, 4, rng=rng, **options)
    channels = options.get("in_channels", 1)
    shape = (3, 1, 20992) if name in ("heurinet", "mstnet", "melnet") else (3, channels, 60, 41)
    x = rng.uniform(-1, 1, shape).astype("float32")
    loss, optimizer = SoftmaxCrossEntropy(), Adam(1e-3)
    while np.abs(net.forward(x)).max() < 2:  # until it has something to say
        loss.forward(net.forward(x, training=True), np.arange(3))
        net.backward(loss.backward())
        optimizer.step(net.params, net.grads)
    assert np.abs(net.forward(x)).max() < LARGEST
    export_onnx(net, tmp_path / "net.onnx", metadata={"classes": '["a", "b", "c", "d"]'})
    expected = softmax(net.forward(x))
    assert np.abs(run(tmp_path / "net.onnx", x) - expected).max() < PROBABILITY
    assert np.abs(run(tmp_path / "net.onnx", x[:1]) - expected[:1]).max() < PROBABILITY  # any batch size
    found = onnx.load(tmp_path / "net.onnx")
    assert {p.key: p.value for p in found.metadata_props} == {"classes": '["a", "b", "c", "d"]'}


@pytest.mark.parametrize("padding", [0, 2, (1, 2), "same", "valid"])
@pytest.mark.parametrize("length", [17, 18, 23])  # 23: at some paddings the last window lies in the padding alone
def test_one_dimensional_paddings(padding, length, tmp_path):
    rng = np.random.default_rng(0)
    group = [("conv", layers.Conv1D(2, 3, 5, 2, padding, rng=rng)), ("tanh", layers.Tanh()), ("abs", layers.Abs())]
    pool = [("pool", layers.MaxPool1D(3, 2, 1, ceil_mode=True)), ("flatten", layers.Flatten())]
    net = Network([("a", group), ("b", pool)])
    x = rng.standard_normal((2, 2, length)).astype("float32")
    export_onnx(net, tmp_path / "net.onnx", (2, length))
    assert np.abs(run(tmp_path / "net.onnx", x) - softmax(net.forward(x))).max() < PROBABILITY


@pytest.mark.parametrize("padding", [0, 1, (1, 2), ((1, 0), (2, 1)), "same", "valid"])
def test_two_dimensional_paddings(padding, tmp_path):
    rng = np.random.default_rng(0)
    conv = layers.Conv2D(2, 3, (3, 4), (2, 1), padding, bias=False, rng=rng)
    net = Network(
        [("a", [("conv", conv), ("pool", layers.MaxPool2D((3, 2), padding=(1, 0))), ("f", layers.Flatten())])]
    )
    x = rng.standard_normal((2, 2, 9, 11)).astype("float32")
    export_onnx(net, tmp_path / "net.onnx", (2, 9, 11))
    assert np.abs(run(tmp_path / "net.onnx", x) - softmax(net.forward(x))).max() < PROBABILITY


def test_batch_normalisation_and_global_average_pooling(tmp_path):
    rng = np.random.default_rng(0)
    group = [("conv", layers.Conv2D(2, 3, 3, rng=rng)), ("norm", layers.BatchNorm2D(3)), ("relu", layers.ReLU())]
    top = [("pool", layers.GlobalAveragePool2D()), ("norm", layers.BatchNorm1D(3, eps=1e-3))]
    net = Network([("a", group), ("b", top)])
    for value in (*net.params.values(), *net.buffers.values()):
        value[...] = rng.uniform(0.5, 1.5, value.shape)
    x = rng.standard_normal((4, 2, 7, 8)).astype("float32")
    export_onnx(net, tmp_path / "net.onnx", (2, 7, 8))
    assert np.abs(run(tmp_path / "net.onnx", x) - softmax(net.forward(x))).max() < PROBABILITY


def test_the_command(tmp_path, capsys):
    """A stored model, exported: the probabilities of `predict`, and what it needs to be used in the metadata."""
    import scratchnet
    from scratchnet.sound import SoundSettings
    from scratchnet.training.files import write_arrays

    net = nets.heurinet(3, rng=np.random.default_rng(0))
    about = {
        "format": 1,
        "network": net.spec,
        "phase": 3,
        "classes": ["bark", "rain", "siren"],
        "codes": ["B", "R", "S"],
    }
    about |= {"sound": SoundSettings().to_dict(), "feature": "waveform", "offset": 0.0, "scale": 1.0, "dropout_seed": 1}
    write_arrays(tmp_path / "model.safetensors", net.state_dict(), about)
    assert main([str(tmp_path)]) == 0
    assert str(tmp_path / "model.onnx") in capsys.readouterr().out
    x = np.random.default_rng(1).uniform(-1, 1, 20992).astype("float32")
    x /= np.abs(x).max()
    predicted = scratchnet.load(tmp_path).predict(x).segment_probabilities
    assert np.abs(run(tmp_path / "model.onnx", x[None, None]) - predicted).max() < PROBABILITY
    metadata = {p.key: p.value for p in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert "siren" in metadata["classes"] and "20992" in metadata["sound"]
    assert main([str(tmp_path / "missing")]) == 2 and "missing" in capsys.readouterr().err


def test_every_layer_has_its_rule():
    assert {rule.__name__ for rule in RULES} == set(layers.__all__) - {"Layer"}


def test_what_cannot_be_exported_is_refused(tmp_path):
    class Own(layers.ReLU):
        pass

    with pytest.raises(ValueError, match=r"a.own: Own\(\) cannot be exported"):
        export_onnx(Network([("a", [("own", Own())])]), tmp_path / "net.onnx", (3,))
    with pytest.raises(ValueError, match="drops outside of training"):
        export_onnx(nets.piczaknet(dropout_in_evaluation=True), tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


def test_without_the_onnx_package_it_says_how_to_get_it(tmp_path, monkeypatch):
    import sys

    from scratchnet.errors import InputError

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match="pip install onnx$"):
        export_onnx(nets.piczaknet(), tmp_path / "net.onnx")


def test_nothing_but_an_onnx_file_is_written(tmp_path, capsys):
    """`predict` takes a recording where this command takes the place to write to."""
    for name in ("recording.wav", "model.safetensors", "model"):
        (tmp_path / name).write_bytes(b"precious")
        with pytest.raises(InputError, match="must end in .onnx"):
            export_onnx(nets.sbcnn(), tmp_path / name)
        assert (tmp_path / name).read_bytes() == b"precious"
    export_onnx(nets.sbcnn(), tmp_path / "net.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"recording.wav", "model.safetensors", "model", "net.onnx"}


@pytest.mark.parametrize("shape", [(4,), (3, 5), (3, 4, 5)])
@pytest.mark.parametrize("top_db", [None, 3.0])
def test_decibels_of_any_shape(shape, top_db, tmp_path):
    rng = np.random.default_rng(0)
    net = Network([("a", [("db", layers.Decibel(top_db=top_db)), ("f", layers.Flatten())])])
    x = rng.uniform(0.1, 2, (3, *shape)).astype("float32")
    x[1] *= 100  # the floor is each sample's own
    export_onnx(net, tmp_path / "net.onnx", shape)
    assert np.abs(run(tmp_path / "net.onnx", x) - softmax(net.forward(x))).max() < PROBABILITY


def test_a_pool_whose_last_window_onnx_would_begin_in_the_padding(tmp_path):
    rng = np.random.default_rng(0)
    pool = layers.MaxPool1D(3, 4, 1, ceil_mode=True)
    net = Network([("a", [("pool", pool), ("f", layers.Flatten()), ("out", layers.Dense(2, 3, rng=rng))])])
    x = rng.standard_normal((4, 1, 6)).astype("float32")
    export_onnx(net, tmp_path / "net.onnx", (1, 6))
    assert np.abs(run(tmp_path / "net.onnx", x) - softmax(net.forward(x))).max() < PROBABILITY


def test_exporting_leaves_the_network_as_it_was(tmp_path):
    """Between a forward and its backward."""
    rng = np.random.default_rng(0)
    net = Network([("a", [("conv", layers.Conv1D(1, 2, 3, rng=rng)), ("f", layers.Flatten())])])
    dy = net.forward(rng.standard_normal((4, 1, 6)).astype("float32"))
    net.backward(dy)
    expected = net.grads["a.conv.weight"].copy()
    export_onnx(net, tmp_path / "net.onnx", (1, 6))
    net.backward(dy)
    assert (net.grads["a.conv.weight"] == expected).all()
