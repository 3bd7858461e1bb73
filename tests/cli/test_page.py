"""report.html of a run."""

import csv
import json
import shutil
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

from scratchnet import train
from scratchnet.training import page as pages
from tests.cli.conftest import QUICK

VOID = {"meta", "img"}


class Page(HTMLParser):
    """A page's headings, rows of tables, links and pictures. Raises AssertionError where a tag is not closed."""

    def __init__(self, path):
        super().__init__()
        self.headings, self.rows, self.links, self.pictures, self._open = [], [], [], {}, []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "h2":
            self.headings.append("")
        if tag == "a":
            self.links.append(given["href"])
        if tag == "img":
            self.pictures[given["alt"]] = b64decode(given["src"].removeprefix("data:image/png;base64,"))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "td" in self._open or "th" in self._open:
            self.rows[-1][-1] += data
        if "h2" in self._open:
            self.headings[-1] += data


def predictions(folder):
    return list(csv.DictReader((folder / "predictions.csv").open(encoding="utf-8")))


def test_the_page_shows_scores_pictures_and_mistakes(icebroken, tree):
    page = Page(icebroken / "report.html")
    assert page.pictures == {
        name: (icebroken / f"{name}.png").read_bytes() for name in ("curves", "confusion", "kernels")
    }
    phases = json.loads((icebroken / "result.json").read_text())["phases"]
    for phase, figures in phases.items():
        scores = [f"{figures[score]:.3f}" for score in pages.SCORES]
        net = "heurinet" if int(phase) else "piczaknet"
        assert [f"phase {phase} ({net})", *scores] in page.rows
    rows = predictions(icebroken)
    wrong = [row for row in rows if row["probability"] != row["label"]]
    listed = [row for row in page.rows if row[0] in {row["clip"] for row in rows}]
    assert sorted(row[:3] for row in listed) == sorted([r["clip"], r["label"], r["probability"]] for r in wrong)
    assert [row[3] for row in listed] == sorted((row[3] for row in listed), reverse=True)
    assert [Path(unquote(urlparse(link).path)) for link in page.links] == [tree / row[0] for row in listed]
    for name in ("high", "low", "middle"):
        of_it = [row for row in rows if row["label"] == name]
        right = sum(row["probability"] == name for row in of_it)
        called = sum(row["probability"] == name for row in rows)
        assert [name, str(len(of_it)), str(right), str(called)] in [row[:4] for row in page.rows]


def test_the_page_of_a_cross_validation_leads_to_those_of_its_folds(tree, tmp_path):
    out, data = tmp_path / "run", tmp_path / "data"
    for name, new in {"high": "<b>high & dry", "low": 'say "low"', "middle": "middle"}.items():
        shutil.copytree(tree / name, data / new)
    assert train.main([*QUICK, "--epochs", "1", "--cv", "--data", str(data), "--out", str(out), "--quiet"]) == 0
    page = Page(out / "report.html")
    assert list(page.pictures) == ["confusion"] and "Folds" in page.headings
    folds = [link for link in page.links if not link.startswith("file:")]
    assert folds == [f"fold{k}/report.html" for k in range(1, 6)] and all((out / link).is_file() for link in folds)
    test = json.loads((out / "result.json").read_text())["test"]
    score = "segment_balanced_accuracy"
    assert f"{test[score]:.3f} ± {test['std'][score]:.3f}" in [row[1] for row in page.rows]
    assert ["fold 3", f"{test['per_fold'][score]['3']:.3f}"] in [row[:2] for row in page.rows]
    assert {"<b>high & dry", 'say "low"', "middle"} <= {row[0] for row in page.rows}
    wrong = [r for k in range(1, 6) for r in predictions(out / f"fold{k}") if r["probability"] != r["label"]]
    assert sorted(row[0] for row in page.rows if row[0].endswith(".wav")) == sorted(row["clip"] for row in wrong)


def test_only_the_surest_of_many_mistakes_are_listed(icebroken, tmp_path, monkeypatch):
    wrong = [row for row in predictions(icebroken) if row["probability"] != row["label"]]
    assert len(wrong) > 1, "choose a recipe that makes mistakes"
    monkeypatch.setattr(pages, "MOST", 1)
    out = tmp_path / "run"
    shutil.copytree(icebroken, out)
    (out / "result.json").unlink()
    assert train.main(["--resume", str(out), "--quiet"]) == 0
    assert "the 1 surest (predictions.csv has them all)" in (out / "report.html").read_text(encoding="utf-8")
    listed = [row for row in Page(out / "report.html").rows if row[0] in {row["clip"] for row in wrong}]
    assert len(listed) == 1
    assert listed[0][0] == max(wrong, key=lambda row: float(row[f"p({row['probability']})"]))["clip"]


def test_a_page_that_fails_costs_no_result(trained, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    for name in ("result.json", "report.html"):
        (out / name).unlink()
    monkeypatch.setattr(pages, "_mistakes", lambda *given: 1 / 0)
    assert train.main(["--resume", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.err.endswith("run: report.html could not be made: ZeroDivisionError: division by zero\n")
    assert (out / "result.json").is_file() and "report.html" not in printed.out
