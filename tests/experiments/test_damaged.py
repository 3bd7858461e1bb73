"""A damaged file of a finished run is named with the way out, and costs no other run."""

import json
import shutil

import pytest

from experiments import ensemble, folds, paired, reproduce, table
from experiments.figures import phases
from experiments.studies import STUDIES, job

SYSTEMS = STUDIES["piczak2015"].systems
FIRST = job(SYSTEMS[0], "tiny", 0).name


@pytest.fixture(scope="module")
def given(tones):
    return ["--scale", "tiny", "--backend", "cpu", "--quiet", "--data", str(tones), "--only", "piczak2015"]


@pytest.fixture(scope="module")
def finished(given, tmp_path_factory):
    """A reproduction of four runs, not to be changed."""
    out = tmp_path_factory.mktemp("reproduced") / "out"
    assert reproduce.main([*given, "--out", str(out)]) == 0
    return out


@pytest.fixture
def out(finished, tmp_path):
    """A copy of it."""
    shutil.copytree(finished, tmp_path / "out")
    return tmp_path / "out"


def without(*names):
    """Takes an entry out of a JSON file: `without("test", "clips")` the clips of the test."""

    def change(data):
        page = inside = json.loads(data)
        for name in names[:-1]:
            inside = inside[name]
        del inside[names[-1]]
        return json.dumps(page).encode()

    return change


def cell(number, text):
    """Puts a text into a cell of the first clip of predictions.csv."""

    def change(data):
        head, first, *rest = data.split(b"\n")
        cells = first.split(b",")
        cells[number] = text
        return b"\n".join([head, b",".join(cells), *rest])

    return change


def other(text):
    return lambda data: text


DAMAGES = [
    ("result.json", lambda data: data[: len(data) // 2]),
    ("result.json", other(b"{}")),
    ("result.json", other(b"[1]")),
    ("result.json", other(b"\xff\xfe\x00")),
    ("result.json", without("test", "segment_accuracy")),
    ("result.json", without("test_fold")),
    ("config.json", other(b"{}")),
    ("config.json", without("versions")),
    ("config.json", without("net")),
    ("config.json", without("used_backend")),
    ("metrics.jsonl", other(b"\xff\xfe\x00\n")),
    ("metrics.jsonl", lambda data: b"{" + data),
    ("metrics.jsonl", lambda data: data + b"[1]\n"),
    ("predictions.csv", other(b"\xff\xfe\x00\n")),
    ("predictions.csv", other(b"")),
    ("predictions.csv", lambda data: data[:-20]),
    ("predictions.csv", lambda data: data[:-1]),
    ("predictions.csv", lambda data: data[: data.index(b"\n") + 1]),
    ("predictions.csv", lambda data: data[: data[:-1].rindex(b"\n") + 1]),
    ("predictions.csv", lambda data: data + data.splitlines(keepends=True)[-1]),
    ("predictions.csv", lambda data: data[data.index(b"\n") + 1 :]),
    ("predictions.csv", lambda data: data + b"\n"),
    ("predictions.csv", cell(1, b"")),
    ("predictions.csv", cell(2, b"")),
    ("predictions.csv", cell(3, b"medium")),
    ("predictions.csv", cell(4, b"")),
    ("predictions.csv", cell(4, b"nan")),
    ("predictions.csv", cell(5, b"0.5,0.5")),
]


def damage(path, change):
    data = path.read_bytes()
    path.write_bytes(change(data))
    assert path.read_bytes() != data
    return f"{path}: damaged; move the run away and train it again\n"


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("result.json", lambda data: data[: len(data) // 2]),
        ("result.json", other(b"{}")),
        ("config.json", without("versions")),
        ("metrics.jsonl", other(b"\xff\xfe\x00\n")),
        ("predictions.csv", other(b"\xff\xfe\x00\n")),
        ("predictions.csv", lambda data: data[:-20]),
    ],
)
def test_the_other_runs_are_reported(given, out, file, change, capsys):
    path = out / "runs" / FIRST
    said = damage(path / file, change)
    (out / "results.md").unlink()
    again = [*given, "--out", str(out), "--no-noise"]
    assert reproduce.main(again) == 1
    printed = capsys.readouterr()
    assert f"failed: {FIRST}: {said}" in printed.out and printed.err == ""
    assert "3 of 4 runs finished" in printed.out
    text = (out / "results.md").read_text()
    assert f"| {SYSTEMS[0].name} | not finished |" in text and text.count("not finished") == 1


def test_a_damaged_run_that_is_moved_away_is_trained_again(given, finished, out):
    again, path = [*given, "--out", str(out), "--no-noise"], out / "runs" / FIRST
    damage(path / "result.json", other(b"{}"))
    assert reproduce.main(again) == 1
    path.rename(out / "away")
    assert reproduce.main(again) == 0
    file = "predictions.csv"
    assert (path / file).read_bytes() == (finished / "runs" / FIRST / file).read_bytes()


@pytest.mark.parametrize("change", [other(b"[]"), other(b"["), other(b"\xff"), without("rows"), without("rows", 3)])
def test_damaged_figures_in_noise_are_made_again(given, out, change):
    kept = out / "runs" / FIRST / "noise.json"
    before = kept.read_bytes()
    damage(kept, change)
    assert reproduce.main([*given, "--out", str(out)]) == 0
    assert kept.read_bytes() == before


@pytest.mark.parametrize("change", [other(b"[]"), other(b"{}"), other(b"["), without("data")])
def test_what_runs_have_in_common_may_be_made_again(given, out, change, capsys):
    file = out / "experiments.json"
    before = file.read_bytes()
    damage(file, change)
    again = [*given, "--out", str(out), "--no-noise"]
    assert reproduce.main(again) == 2
    assert f"{file}: damaged; if the runs there are this command's, remove it" in (said := capsys.readouterr().err)
    assert said.count("\n") == 1
    file.unlink()
    assert reproduce.main(again) == 0
    assert file.read_bytes() == before


READERS = {
    "result.json": (table, folds, paired, ensemble),
    "config.json": (table, folds, paired, ensemble),
    "metrics.jsonl": (folds, phases),
    "predictions.csv": (paired, ensemble),
}


@pytest.mark.parametrize(("file", "change"), DAMAGES)
def test_every_tool_names_the_file(out, file, change, capsys):
    path = out / "runs" / FIRST
    said = damage(path / file, change)
    for tool in READERS[file]:
        arguments = [str(path)] + ([str(path)] if tool is paired else [])
        arguments += ["--phases", "0", "--out", str(out / "phases.png")] if tool is phases else []
        assert tool.main(arguments) == 2
        assert capsys.readouterr().err == f"scratchnet: {said}", tool
