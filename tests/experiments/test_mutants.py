"""The slips that `experiments.mutation` makes: which there are, and what is left alone."""

from pathlib import Path

import pytest

from experiments import mutants, mutants_cuda, mutation
from experiments.mutation_survivors import ENTRY, PAGE, _short, explained
from experiments.mutation_targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
KERNEL = """
#pragma once
#include "common.cuh"  // 1 + 1
#define SIZE 32
#define EACH(i, n) for (int i = 0; i < (n); i++)
struct Shape { int rows[2], columns; };
struct alignas(16) Wide { int numbers[4]; };
constexpr int HALF = SIZE / 2;
template <int N = 4>
__device__ __forceinline__ float first(const float* x, int n = 3) {
    SHARED_ARRAY(float, part, 32);
    float sum[N / 2];
    const int row = shape.rows, column = shape.columns;
#ifdef ON_HOST
    part[row] = *x;
#else
    part[row + 5] = *x;
#endif
    __syncthreads();
    return n > 0 && x[-row] != 7 ? (float)x[0] * part[HALF] : min(x[1], 2);
}
extern "C" __global__ void __launch_bounds__(128, 2) second(float* __restrict__ y) { EACH(i, 9) y[i] += 1; }
"""


SLIPS = [
    ("EACH", "shift", "0", "1"),
    ("EACH", "comparison", "<", "<="),
    ("EACH", "comparison", "<", ">="),
    ("constants", "operator", "/", "*"),
    ("constants", "shift", "2", "1"),
    ("constants", "shift", "2", "3"),
    ("first", "swap names", "rows", "columns"),
    ("first", "swap names", "columns", "rows"),
    ("first", "delete", "part[row] = *x", ""),
    ("first", "swap names", "row", "column"),
    ("first", "delete", "__syncthreads()", ""),
    ("first", "comparison", ">", "<="),
    ("first", "comparison", ">", ">="),
    ("first", "shift", "0", "1"),
    ("first", "operator", "&&", "||"),
    ("first", "sign", "-", ""),
    ("first", "swap names", "row", "column"),
    ("first", "comparison", "!=", "=="),
    ("first", "shift", "7", "6"),
    ("first", "shift", "7", "8"),
    (
        "first",
        "swap branches",
        " (float)x[0] * part[HALF] : min(x[1], 2)",
        " (min(x[1], 2)) : (float)x[0] * part[HALF]",
    ),
    ("first", "shift", "0", "1"),
    ("first", "drop term", " * part[HALF]", ""),
    ("first", "operator", "*", "+"),
    ("first", "swap names", "min", "max"),
    ("first", "shift", "1", "0"),
    ("first", "shift", "1", "2"),
    ("first", "shift", "2", "1"),
    ("first", "shift", "2", "3"),
    ("second", "shift", "9", "10"),
    ("second", "shift", "9", "8"),
    ("second", "delete", "y[i] += 1", ""),
    ("second", "operator", "+=", "-="),
    ("second", "overwrite", "+=", "="),
    ("second", "shift", "1", "0"),
    ("second", "shift", "1", "2"),
]


def test_the_slips_of_a_cuda_file():
    """No comment, declaration, signature or template is touched, nor what is compiled for the GPU alone."""
    found = mutants_cuda.mutants_of(KERNEL)
    assert sorted((m.function, m.kind, m.before, m.after) for m in found) == sorted(SLIPS)
    for mutant in found:
        changed = mutant.apply(KERNEL)
        assert changed != KERNEL and changed.startswith(KERNEL[: mutant.start] + mutant.after)
        assert KERNEL.split("\n")[mutant.line - 1] != changed.split("\n")[mutant.line - 1]


def test_only_the_functions_that_are_asked_for():
    assert {m.function for m in mutants_cuda.mutants_of(KERNEL, "first|EACH")} == {"first", "EACH"}


def test_the_slips_of_a_python_file():
    text = "def f(x, rows):\n    if x is None:\n        raise ValueError('1 + 1')\n    return x[1:] - rows\n"
    found = {(m.kind, m.before, m.after) for m in mutants.mutants_of(text)}
    assert found == {
        ("operator", "x[1:] - rows", "(x[1:] + rows)"),
        ("drop term", "x[1:] - rows", "(x[1:])"),
        ("drop term", "x[1:] - rows", "(-rows)"),
        ("swap axes", "rows", "columns"),
        ("shift", "1:", "1 + 1:"),
        ("shift", "1", "0"),
        ("shift", "1", "2"),
    }


@pytest.mark.parametrize("file", TARGETS)
def test_every_target_is_there(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    for target in TARGETS[file]:
        assert all((ROOT / path).exists() for path in target.tests.split())
        found = (mutants if file.endswith(".py") else mutants_cuda).mutants_of(text, target.functions)
        assert all(mutant.apply(text) != text for mutant in found)


@pytest.mark.parametrize("only, said", [("(", "no regular expression"), ("nosuchthing", "no file with mutants")])
def test_what_names_no_file_is_refused(only, said, capsys):
    with pytest.raises(SystemExit) as left:
        mutation.main(["--list", "--only", only])
    assert left.value.code == 2 and said in capsys.readouterr().err


def test_the_survivors_that_are_explained_are_lines_that_stand():
    """Else they explain nothing; and each once."""
    entries = [match for line in PAGE.read_text(encoding="utf-8").splitlines() if (match := ENTRY.fullmatch(line))]
    assert len(entries) == len(explained()) > 300
    for entry in entries:
        lines = (ROOT / entry["file"]).read_text(encoding="utf-8").splitlines()
        assert entry["code"] in {_short(line) for line in lines}, entry[0]
