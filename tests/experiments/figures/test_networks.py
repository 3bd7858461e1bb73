"""Figure 1, Tables 1 and 2, drawn from the networks themselves."""

import numpy as np
import pytest

from experiments.figures import pipeline, tables
from scratchnet import backend
from scratchnet.nets import build


@pytest.fixture(autouse=True)
def definitions():
    yield
    backend.use("cpu")


def columns(text):
    """The rows of a Markdown table, without the paper's #parameters: layer, #in, #out, kernel, stride, activation."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "<sup>" in line]
    return [tuple(line[1:7]) for line in lines]


def test_tables_1_and_2_are_the_papers(capsys):
    assert tables.main([]) == 0
    one, two = capsys.readouterr().out.split("\n\n**")
    assert "84,540" in one
    assert columns(one) == [
        ("CONV1D", "1", "80", "155", "10", "ReLU"),
        ("MAXPOOL", "80", "80", "9", "3", "–"),
        ("CONV1D", "80", "60", "15", "4", "ReLU"),
        ("MAXPOOL", "60", "60", "9", "4", "–"),
    ]
    assert "964,412" in two
    assert columns(two) == [
        ("CONV1D", "1", "512", "1024", "512", "ReLU"),
        ("CONV1D", "512", "256", "3", "1", "ReLU"),
        ("CONV1D", "256", "60", "3", "1", "tanh"),
    ]


def test_shapes_and_parameters_are_the_networks():
    backend.use("reference")
    rows = tables.rows(build("piczaknet", 7, pool_ceil=True), "piczak")
    assert [row[7] for row in rows] == ["80×4×36", "80×1×12", "80×1×10", "80×1×4", "5000", "5000", "7"]
    assert rows[4][8] == f"{(320 + 1) * 5000:,}"
    assert [row[6] for row in tables.rows(build("melnet", power=1), "deepfourier")] == [
        "|·|",
        "20 log<sub>10</sub>",
    ]


@pytest.mark.parametrize("name", ["sbcnn", "minivgg"])
def test_rows_of_the_rivals_add_up_to_their_parameters(name, capsys):
    assert tables.main([name]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    sizes = [line.strip("| ").split(" | ")[8] for line in lines if "<sup>" in line]
    total = sum(int(size.replace(",", "")) for size in sizes if size != "–")
    assert total == sum(a.size for a in build(name).params.values()) and f"{total:,} parameters" in head


def test_tables_go_into_a_file_and_come_from_runs(runs, tmp_path, capsys):
    out = tmp_path / "new" / "tables.md"
    assert tables.main([str(runs / "heurinet"), "--out", str(out)]) == 0
    assert "HeuriNet" in out.read_text()
    assert tables.main(["heurnet"]) == 2
    assert "heurnet" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["piczaknet", "heurinet", "melnet", "sbcnn", "minivgg"])
def test_fig_1_is_drawn(draw, name):
    draw(pipeline.main, name)


def test_fig_1_shows_what_each_group_gets():
    backend.use("reference")
    net = build("mstnet", rng=np.random.default_rng(0))
    rows = pipeline.rows(net, pipeline.example(None))
    assert list(rows) == ["deepfourier", "piczak"]
    assert [entering.shape for entering, _ in rows.values()] == [(1, 1, 20992), (1, 1, 60, 41)]
    assert [stage.shape for stage in rows["deepfourier"][1]] == [(512, 41), (256, 41), (60, 41)]
    rival = pipeline.rows(build("minivgg", rng=np.random.default_rng(0)), pipeline.example(1))["minivgg"][1]
    assert rival[0] == ("conv 3×3\nBatchNorm2D\nReLU", (32, 60, 41)) and rival[-2] == ("average", (128,))
    deltas = pipeline.example(2)
    assert deltas.shape == (1, 2, 60, 41)
    assert not np.array_equal(deltas[0, 0], deltas[0, 1])


def test_fig_1_of_what_is_no_network_is_one_line(draw, tmp_path):
    assert "absent" in draw(pipeline.main, tmp_path / "absent", status=2)
