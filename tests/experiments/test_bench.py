"""Every benchmark runs, at sizes that take seconds, and what it compares is the same thing on both sides."""

import json
import time

import numpy as np
import pytest

from experiments.bench import (
    frontend,
    growth,
    jit,
    layers,
    machine,
    memory,
    output,
    predict,
    prepare,
    report,
    rivals,
    step,
    waiting,
    walk,
    workloads,
)
from experiments.bench.timing import interleave
from scratchnet import backend
from scratchnet.nets import build

NET = "piczaknet"
linux = pytest.mark.skipif(not machine.STATUS.exists(), reason="memory is read from /proc, which only Linux has")


@pytest.fixture(autouse=True)
def one_backend():
    backend.use("cpu")


@pytest.fixture(autouse=True)
def one_step_a_round(monkeypatch):
    monkeypatch.setattr(step, "SEGMENTS", 1)
    monkeypatch.setattr(predict, "SEGMENTS", 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two classes, three clips each of a second and a half, at another rate than ours; and a cache of its own."""
    import soundfile

    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(4)
    for name in ("hum", "hiss"):
        (folder / name).mkdir()
        for i in range(3):
            t = np.arange(36000) / 24000
            x = 0.3 * np.sin(2 * np.pi * 220 * (i + 1) * t) if name == "hum" else np.zeros(36000)
            soundfile.write(folder / name / f"{i}.wav", x + 0.05 * rng.standard_normal(36000), 24000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCRATCHNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield str(folder)


@pytest.fixture
def no_compiler(monkeypatch):
    """PyTorch's variants but the one that takes half a minute to compile."""
    torch = pytest.importorskip("torch", reason="PyTorch is what the benchmark compares with, not a dependency")
    from experiments.bench import opponents

    monkeypatch.setattr(opponents, "VARIANTS", (opponents.EAGER, opponents.LAST))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def cells(table, row):
    """The cells of a table's row, 0 the first under the header."""
    return [cell.strip() for cell in table.splitlines()[row + 2].strip("|").split("|")]


def test_rivals_take_turns_and_slow_ones_leave():
    order = []

    def rival(name, seconds):
        return lambda: (order.append(name), time.sleep(seconds))

    times = interleave({"ours": rival("ours", 0.2), "a": rival("a", 0), "b": rival("b", 0.1)}, 3, always=("ours",))
    assert order == ["ours", "a", "b"] * 2 + ["ours", "a"] * 2  # a warm-up, a round of all, two without b
    assert [len(times[name].times) for name in ("ours", "a", "b")] == [3, 3, 1]
    assert times["ours"].median >= 0.2


def test_operations_are_those_of_the_papers_tables():
    """Tables 1 and 2: 2 · channels in · kernel · channels out · positions."""
    expected = {
        "heurinet": {"deepfourier.conv1": 2 * 155 * 80 * 2084, "deepfourier.conv2": 2 * 80 * 15 * 60 * 170},
        "mstnet": {"deepfourier.conv1": 2 * 1024 * 512 * 41, "deepfourier.conv3": 2 * 256 * 3 * 60 * 41},
        "piczaknet": {"piczak.conv1": 2 * 57 * 6 * 80 * 4 * 36, "piczak.dense2": 2 * 5000 * 5000},
    }
    for name, forward in expected.items():
        counts = workloads.flops(workloads.fresh(name), workloads.noise(name, 1)[0])
        for layer, number in forward.items():
            assert counts[layer]["forward"] == number
        first, *others = counts
        assert counts[first]["backward"] == counts[first]["forward"]
        assert all(counts[layer]["backward"] == 2 * counts[layer]["forward"] for layer in others)


def test_density_of_a_known_network():
    """Half of the numbers behind ReLU are not zero, of these dropout leaves half."""
    net = workloads.fresh(NET)
    net.layers["piczak.dense1"].params["weight"][...] = 0
    net.layers["piczak.dense1"].params["bias"][...] = np.tile([1, -1], 2500)
    # 32 · 5000 draws: a standard deviation of sqrt(0.25 · 0.5 / 160000) = 0.0009; six of them
    assert workloads.density(net, workloads.noise(NET, 32)[0]) == pytest.approx(0.25, abs=0.0054)


def test_step_against_pytorch(no_compiler, data):
    result = step.measure([NET], [4], rounds=1, data=data, warm=1)
    assert [row["state"] for row in result["rows"]] == [workloads.NOISE, workloads.TRAINED]
    for row in result["rows"]:
        # The same function of the same weights, in float32: ten layers of sums of up to 5000 terms, whose roundings
        # mostly cancel (their root: 70): 10 · 70 · 6e-8.
        assert row["logits_differ"] < 10 * 70 * 2.0**-24
        assert set(row["times"]) == {"scratchnet", "eager", "channels-last", "SGEMM"}
        ratio = (
            min(row["times"][v]["seconds"] for v in ("eager", "channels-last")) / row["times"]["scratchnet"]["seconds"]
        )
        assert step.best(row["times"])[1] / row["times"]["scratchnet"]["seconds"] == ratio
    written = step.table(json.loads(json.dumps(result)))
    assert cells(written, 1)[:2] == ["PiczakNet, 4", workloads.TRAINED]
    assert f"**{ratio:.2f}**" in cells(written, 1)


def test_a_step_of_both_sides_changes_the_weights_alike(no_compiler):
    """Without dropout, one step from the same weights on the same batch: clipping and Nesterov are the same too."""
    from experiments.bench import opponents

    x, target = workloads.noise("mstnet", 3)
    # With this seed no number comes so near a kink of ReLU or a tie of max-pool that rounding decides about it.
    net = build("mstnet", rng=np.random.default_rng(7), dropout=0.0)
    # Some norms lie above, others below; dense2's below, which PyTorch sums in float32, wrong by 4e-4.
    clip = 0.2
    theirs = opponents.Step("mstnet", opponents.LAST, 10, clip).feed(net, x, target)
    theirs.net.drop = lambda i, x: x
    lr = 100.0  # the change must stand out from the weights' own rounding
    theirs.optimizer.param_groups[0]["lr"] = lr
    ours = workloads.Step(net, "mstnet", x, target, lr)
    ours.clip = clip
    start = net.state_dict()
    assert ours() == pytest.approx(theirs(), rel=1e-5)
    # Sums of up to 5000 float32 terms in ten layers, there and back: 20 · 70 · 6e-8 where roundings mostly cancel.
    # PyTorch adds 1e-6 to the norm that it divides by, which is above `clip`.
    relative = 20 * 70 * 2.0**-24 + 1e-6 / clip
    for name, parameter in theirs.net.named_parameters():
        change, other = net.params[name] - start[name], parameter.detach().numpy() - start[name]
        assert np.abs(change - other).max() <= relative * np.abs(other).max(), name


def test_a_variant_that_fails_is_told_and_left_out(no_compiler):
    from experiments.bench import opponents

    def broken():
        raise RuntimeError("no C++ compiler\nand more")

    alive, failed = opponents.working({"eager": lambda: None, "torch.compile": broken})
    assert list(alive) == ["eager"]
    assert failed == {"torch.compile": "RuntimeError: no C++ compiler"}
    assert output.timed({"failed": failed["torch.compile"]}) == "failed: RuntimeError: no C++ compiler"


def test_step_without_pytorch(monkeypatch):
    monkeypatch.setattr(step, "opponents", None)
    result = step.measure([NET], [2], rounds=1, warm=0)
    assert set(result["rows"][0]["times"]) == {"scratchnet", "SGEMM"}
    assert "–" in cells(step.table(result), 0)


def test_step_of_a_rival(no_compiler):
    result = step.measure(["sbcnn"], [2], rounds=1, warm=0)
    row = result["rows"][0]
    assert row["logits_differ"] < 10 * 70 * 2.0**-24  # as above
    written = rivals.table(json.loads(json.dumps(result)))
    assert cells(written, 0)[0] == "SB-CNN, 2" and "dense2" not in written


def test_prediction(no_compiler):
    result = predict.measure([NET], [3], rounds=1, warm=0)
    assert set(result["rows"][0]["times"]) == {"scratchnet", "eager", "channels-last"}
    assert cells(predict.table(result), 0)[0] == "PiczakNet, 3"


@linux
def test_memory_of_both_sides():
    """At least weights, gradients and momentum, 3 · 26,306,730 float32, beyond the imports."""
    pytest.importorskip("torch", reason="PyTorch is what the benchmark compares with, not a dependency")
    result = memory.measure([NET], [2], [memory.OURS, memory.LAST])
    for side in (memory.OURS, memory.LAST):
        assert result["rows"][0][side]["peak"] - result["rows"][0][side]["imported"] > 3 * 26_306_730 * 4
    assert cells(memory.table(result), 0)[0] == "PiczakNet, 2"


@linux
def test_peak_of_memory_that_is_given_back():
    with machine.PeakMemory() as watched:
        before = machine.memory("RssAnon")
        np.ones(50_000_000, np.uint8)
        room = np.ones(100_000_000, np.uint8)
        time.sleep(0.05)
        del room
    assert watched.peak - before > 95_000_000


@pytest.mark.parametrize("library", ["librosa", "torch"])
def test_front_ends_give_the_same_decibels(library, monkeypatch):
    pytest.importorskip(library, reason=f"{library} is what the benchmark compares with, not a dependency")
    result = frontend.measure(5, 1, noise=True)
    mine = {"librosa": [frontend.LOOP, frontend.CALL], "torch": [frontend.TORCH]}[library]
    found = {row["name"]: row for row in result["rows"]}
    for name in mine:
        # Noise: power within a few tens of dB of the mean, where a float32 FFT errs by 1e-5 in relation, 4e-5 dB.
        assert found[name]["differs_db"] < 1e-3
    assert cells(frontend.table(result), 0)[0] == "scratchnet"


def test_preparing_gives_the_same_segments(data):
    pytest.importorskip("librosa", reason="librosa is what the benchmark compares with, not a dependency")
    result = prepare.measure(data, rounds=1, clips=4)
    assert result["clips"] == 4
    assert result["segments"] == result["segments_of_librosa"] == 8
    assert result["differs_db"] < 0.05  # 80 dB under the maximum, float32 rounding of the loud bins shows
    assert "files a second" in prepare.table(result)


@linux
def test_growth():
    result = growth.measure([NET], [1, 2], base=3, times=[1, 2], rounds=1, batch=2)
    found = result["networks"][0]
    assert [row["batch"] for row in found["batches"]] == [1, 2]
    assert [row["segments"] for row in found["data"]] == [3, 6]
    assert all(row["seconds"] > row["waited"] >= 0 for row in found["data"])
    assert "PiczakNet, batch" in growth.table(result)


def test_noise_segments_are_read_as_a_cache(tmp_path):
    segments = growth.noise_segments(tmp_path, 4)
    x = segments.waveforms([0, 1])
    assert x.shape == (2, 1, 20992)
    assert np.array_equal(x[0, 0, 10496:], x[1, 0, :10496])  # half of each is the next one's
    assert segments.logmels([3]).shape == (1, 1, 60, 41)


def test_layers_cover_the_whole_step():
    result = layers.measure([NET], 2, 1, warm=0)
    passes = {row["pass"]: row for row in result["networks"][0]["passes"]}
    assert list(passes)[0] == "piczak: conv1 + relu1 + pool1"
    assert list(passes)[-2:] == [layers.LOSS, layers.UPDATE]
    counted = sum(row["forward_flops"] + row["backward_flops"] for row in passes.values())
    net, (x, _) = workloads.fresh(NET), workloads.noise(NET, 1)
    assert counted == 2 * sum(sum(count.values()) for count in workloads.flops(net, x).values())
    assert "together" in layers.table(result)


def test_waiting(data):
    result = waiting.measure([NET], data, count=6, batch=3, number=2)
    assert result["segments"] == 6
    for epoch in result["rows"][0]["epochs"]:
        assert 0 <= epoch["waited"] < epoch["seconds"]
    assert cells(waiting.table(result), 0)[0] == "PiczakNet"


def test_start_up():
    result = jit.measure([NET], batch=2, repeats=1)
    row = result["rows"][0]
    assert row["empty"]["first"] > row["filled"]["first"] > 0  # the first process compiles
    assert 0 < result["import"] < 5
    assert "every later process" in jit.table(result)


def test_a_command_writes_json_and_prints_its_table(tmp_path, capsys):
    threads = backend.threads()
    words = ["--net", NET, "--batch", "2", "--rounds", "1", "--warm", "0", "--out", str(tmp_path), "--threads", "1"]
    assert layers.main(words) == 0
    backend.threads(threads)
    result = json.loads((tmp_path / "layers.json").read_text())
    assert result["machine"]["threads"] == 1
    assert result["machine"]["versions"]["numpy"] == np.__version__
    assert layers.table(result) in capsys.readouterr().out


def test_a_wrong_option_is_one_line(capsys):
    for given in (["--nett", "heurinet"], ["--threads", "0"], ["--batch", "0"], ["--rounds", "x"], ["--warm", "-1"]):
        assert step.main(given) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_report_fills_the_page_from_json(tmp_path, capsys):
    layers.main(["--net", NET, "--batch", "2", "--rounds", "1", "--warm", "0", "--out", str(tmp_path)])
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n<!-- step -->\nNot yet.\n<!-- /step -->\nwords\n<!-- layers -->\nNot yet.\n<!-- /layers -->\nend\n"
    )
    for _ in range(2):  # a second time changes nothing
        assert report.main(["--out", str(tmp_path), "--page", str(page)]) == 0
        text = page.read_text()
        assert text.startswith("# A\n<!-- step -->\nNot yet.\n<!-- /step -->\nwords\n<!-- layers -->\n| PiczakNet, 2")
        assert text.endswith("<!-- /layers -->\nend\n")
        assert text.count("together") == 1
    assert report.main(["--out", str(tmp_path / "nothing"), "--page", str(page)]) == 2


def test_the_page_has_a_place_for_every_benchmark():
    from experiments.bench.__main__ import PARTS

    places = {found[1] for found in report.BLOCK.finditer(report.PAGE.read_text(encoding="utf-8"))}
    assert places == {*PARTS, "gpu"}


def test_the_versions_of_one_layer_agree(tmp_path):
    """`measure` compares them before it times them."""
    assert walk.main(["--samples", "2", "--rounds", "1", "--out", str(tmp_path)]) == 0
    assert len(json.loads((tmp_path / "walk.json").read_text())["rows"]) == 3
