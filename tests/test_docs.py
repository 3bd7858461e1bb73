"""The pages lead where they say, and their code runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scratchnet import train
from scratchnet.training.readings import TABLE

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(page for folder in ("docs", "kernels", "experiments") for page in (ROOT / folder).rglob("*.md")),
    ]
)
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)|(?:src|href)=\"([^\"#]+)")
ANCHOR = re.compile(r"\]\(((?:[^)\s#:]+\.md)?)#([^)\s]+)\)")


def anchors(page):
    """What GitHub names the headings of a page: lower case, hyphens for blanks, no other signs."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    links = ["".join(groups) for groups in LINK.findall(page.read_text(encoding="utf-8"))]
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing, f"{page.name} leads to {missing}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_a_heading(page):
    links = ANCHOR.findall(page.read_text(encoding="utf-8"))
    missing = [link for link in links if link[1] not in anchors(page.parent / link[0] if link[0] else page)]
    assert not missing, f"{page.name} leads to headings {missing}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_heading_stands_twice(page):
    """A link leads to the first; and a part of a page may have been pasted in twice."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert len(headings) == len(set(headings))


def test_the_python_of_the_readme_runs():
    """Three steps on eight segments of noise: three losses, the first near log(10), as ten logits near 0 give."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    losses = [float(line) for line in done.stdout.split()]
    assert len(losses) == 3
    assert losses[0] == pytest.approx(2.303, abs=0.5)  # untrained logits, all within 0.25 of 0, move it by 0.5 at most


def test_readings_name_options_that_there_are_and_one_at_least_of_every_reading():
    page = (ROOT / "docs" / "readings.md").read_text(encoding="utf-8")
    named = {name.replace("-", "_") for name in re.findall(r"`--(?:no-)?([a-z0-9-]+)", page)}
    options = {action.dest for action in train.parser()._actions}
    assert named <= options
    decided = {reading.question: set(reading.settings) for reading in TABLE}
    left_out = {question for question, settings in decided.items() if not settings & named}
    assert left_out == {"Mel bins", "HeuriNet's first layer", "mixup", "epoch kept of a phase"}  # ours, or in P's words
