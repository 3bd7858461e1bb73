"""Small wrong changes of a CUDA C file, found by its tokens. Used by `experiments.mutation`.

No parser: the sources are written in one style (clang-format's), in which a space on either side tells an operator from
a pointer's star, a reference or a template's bracket.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from experiments.mutants import Mutant

OTHER_OPERATOR = {
    "+": "-", "-": "+", "*": "+", "/": "*", "%": "/", ">>": "<<", "<<": ">>", "^": "|", "&": "|",
    "&&": "||", "||": "&&", "+=": "-=", "-=": "+=", "*=": "/=", "/=": "*=",
}  # fmt: skip
OTHER_COMPARISON = {
    "<": ("<=", ">="), ">": (">=", "<="), "<=": ("<", ">"), ">=": (">", "<"), "==": ("!=",), "!=": ("==",),
}  # fmt: skip
CONFUSED = [("row", "column"), ("rows", "columns"), ("top", "left"), ("bottom", "right"), ("min", "max")]
OTHER_NAME = {a: b for pair in CONFUSED for a, b in (pair, pair[::-1])}

# What stays as it is: declarations, masks of whole warps, and what only speed depends on.
LEFT_ALONE = re.compile(
    r'"[^"\n]*"|\btemplate <[^>]*>|__launch_bounds__\([^)]*\)|\bstatic_assert\([^;]*;|\bSHARED_\w+\([^;]*;|0xf{8}u'
    r"|\b(?:typedef|using)\b[^;]*;|\bstruct (?:alignas\(\d+\) )?\w+ \{[^{}]*\};|\bconstexpr int [^;]*PITCH[^;]*;"
    r"|^ *(?:real|float|unsigned) \w+(?:\[[^;=]*\])+;",
    re.MULTILINE,
)
DIRECTIVE = re.compile(r"^#(?:.*\\\n)*.*", re.MULTILINE)
MACRO = re.compile(r"#define (\w+)\([^)]*\)")  # one that takes arguments: its body is code
SIGNATURE = re.compile(r"^ *(?:extern +|static )?(?:__global__|__device__)[^;{]*", re.MULTILINE)


def mutants_of(text: str, functions: str = ".*") -> list[Mutant]:
    """All mutants of the functions and macros whose names match, in the order of the file."""
    code, names = _code(text)
    found: dict[tuple[int, int, str], Mutant] = {}
    for kind, start, end, after in _changes(code):
        constant = text[text.rfind("\n", 0, start) + 1 :].startswith("constexpr")
        function = "constants" if constant else [name for place, name in names if place <= start][-1]
        if re.fullmatch(functions, function):
            line = text.count("\n", 0, start) + 1
            found.setdefault((start, end, after), Mutant(function, line, kind, start, end, text[start:end], after))
    return sorted(found.values(), key=lambda m: (m.start, m.end, m.after))


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _code(text: str) -> tuple[str, list[tuple[int, str]]]:
    """The text with blanks in place of what no mutant changes; where each function and each macro begins."""
    code = _on_host(re.sub(r"//.*", _blank, text))
    names = [(match.start(), match[1]) for match in MACRO.finditer(code)]
    code = LEFT_ALONE.sub(_blank, DIRECTIVE.sub(_body, code))
    for match in SIGNATURE.finditer(code):
        names.append((match.start(), re.search(r"(\w+)\(", match[0])[1]))
    return SIGNATURE.sub(_blank, code), sorted(names)


def _body(directive: re.Match[str]) -> str:
    """Of a preprocessor's line the body, if it is a macro that takes arguments."""
    macro = MACRO.match(directive[0])
    head = macro.end() if macro else len(directive[0])
    return re.sub(r"[^\n]", " ", directive[0][:head]) + directive[0][head:].replace("\\", " ")


def _on_host(code: str) -> str:
    """Without what is not compiled on the host, where the tests run."""
    lines, branches = [], []  # of each #if that is open: is it about the host? is this branch for the GPU?
    for line in code.split("\n"):
        if line.startswith("#if"):
            branches.append(["ON_HOST" in line, line.startswith("#ifndef ON_HOST")])
        elif line.startswith("#el"):
            branches[-1][1] = branches[-1][0]
        elif line.startswith("#endif"):
            branches.pop()
        hidden = any(for_gpu for _, for_gpu in branches) and not line.startswith(("#if", "#el", "#endif"))
        lines.append(" " * len(line) if hidden else line)
    return "\n".join(lines)


def _changes(code: str) -> Iterator[tuple[str, int, int, str]]:
    """(what is done, from where, to where, what stands there instead)"""
    steps = [(m.end() - 1, _closing(code, m.end() - 1)) for m in re.finditer(r"\bfor \(", code)]
    for match in re.finditer(r"(?<=[\w)\]] )(&&|\|\||<<|>>|[-+*/]=|[<>=!]=|[-+*/%<>^&])(?=[ \n])", code):
        (start, end), operator = match.span(), match[0]
        for other in OTHER_COMPARISON.get(operator, ()):
            yield "comparison", start, end, other
        stepping = operator[-1] == "=" and any(a < start < b for a, b in steps)  # turned round it would never end
        if operator in OTHER_OPERATOR and not stepping:
            yield "operator", start, end, OTHER_OPERATOR[operator]
            if operator in ("+=", "-=", "*=", "/="):
                yield "overwrite", start, end, "="
        if operator in ("+", "-", "*", "/"):
            stop = _operand_end(code, end, terms=operator in "+-")
            if code[end:stop].strip() != ("1" if operator in "+-" else "2"):  # a shift does the same
                yield "drop term", start - 1, stop, ""
    for match in re.finditer(r"(?:(?<=[(\[])|(?<=[(,?:=<] )|(?<=return )|(?<=\)))-(?=[\w(])|!(?=[\w(])", code):
        yield "sign", match.start(), match.end(), ""
    for match in re.finditer(r"(?<![\w.])(?:\d+|0x[0-9A-F]{8}u)(?![\w.])", code):
        number, suffix = int(match[0].removesuffix("u"), 0), match[0][-1:].strip("0123456789")
        for other in (number + 1, number - 1)[: 2 if number else 1]:
            yield "shift", match.start(), match.end(), f"{other}{suffix}"
    for match in re.finditer(r"\b(true|false)\b", code):
        yield "constant", match.start(), match.end(), "false" if match[0] == "true" else "true"
    for match in re.finditer(r"\bif (?:constexpr )?\((\w+)\)", code):
        yield "negate", match.start(1), match.end(1), f"!{match[1]}"
    for match in re.finditer(r"(?<= )\?(?= )", code):
        middle = _stop(code, match.end(), ":")
        end = _stop(code, middle + 1, ";,)]}")
        yield (
            "swap branches",
            match.end(),
            end,
            f" ({code[middle + 2 : end].strip()}) :{code[match.end() : middle].rstrip()}",
        )
    yield from _statements(code)
    yield from _names(code)


def _statements(code: str) -> Iterator[tuple[str, int, int, str]]:
    """Assignments, calls and jumps, each left out."""
    for match in re.finditer(r"\b[A-Za-z_]\w*", code):
        start, before = match.start(), code[: match.start()].rstrip()
        if len(before) == start or not before.endswith(
            (";", "{", "}", ")", "else")
        ):  # a cast stands close to its value
            continue
        end = _operand_end(code, start, terms=False, factors=False)
        if re.match(r" [-+*/]?= ", code[end:]):
            stop = _stop(code, end, ";)")
        else:
            stop = end if code[end - 1] == ")" or match[0] in ("return", "continue") else -1
        if code[stop : stop + 1] == ";":
            yield "delete", start, stop, ""


def _names(code: str) -> Iterator[tuple[str, int, int, str]]:
    """Rows for columns and so on, where a name is used, not where it is declared."""
    known = {"min", "max", *re.findall(r"\w+", code)}
    for match in re.finditer(r"\b[a-z]\w*", code):
        parts = match[0].split("_")
        for i, part in enumerate(parts):
            other = "_".join([*parts[:i], OTHER_NAME.get(part, part), *parts[i + 1 :]])
            if other == match[0] or other not in known:
                continue
            before = code[: match.start()]
            declared = re.search(r"(?:\w|[\w>][*&]) $", before[-3:]) and not before.endswith("return ")
            if not declared and not (code.startswith(" = ", match.end()) and before.endswith(", ")):
                yield "swap names", match.start(), match.end(), other


def _closing(code: str, at: int) -> int:
    """Where the bracket that opens here is closed."""
    return _stop(code, at + 1, ")]}")


def _stop(code: str, at: int, ends: str) -> int:
    """The next of these characters outside of brackets; of ":", outside of other conditions too."""
    depth = 0
    while depth or code[at] not in ends:
        depth += (code[at] in "([{") - (code[at] in ")]}")
        if ends == ":":
            depth += (code[at] == "?") - (code[at] == ":")
        at += 1
    return at


def _operand_end(code: str, at: int, terms: bool, factors: bool = True) -> int:
    """The end of the factor that stands here, or (`terms`) of the whole product."""
    while code[at] in " \n-!*&~":
        at += 1
    while True:  # a name or a number, whatever hangs on it; a cast and what it casts
        if code[at] in "([" or code[at] == "{" and code[at - 1].isalnum():
            at = _closing(code, at) + 1
        elif match := re.compile(r"[\w.]+|::|->|<[^<>;() ]*>(?=\()").match(code, at):
            at = match.end()
        else:
            break
    if factors and terms and (match := re.compile(r"\s+[*/%]\s").match(code, at)):
        return _operand_end(code, match.end(), terms)
    return at
