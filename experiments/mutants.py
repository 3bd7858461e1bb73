"""Small wrong changes of a Python file: what a slip in a derivative looks like. Used by `experiments.mutation`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

# What pairs of names are easily confused: rows and columns, the two sides of a padding, the two sizes of a kernel.
CONFUSED = [("kh", "kw"), ("sh", "sw"), ("top", "left"), ("bottom", "right"), ("height", "width"), ("rows", "columns")]
OTHER_NAME = {a: b for pair in CONFUSED for a, b in (pair, pair[::-1])}
OTHER_CALL = {"max": "min", "min": "max", "maximum": "minimum", "minimum": "maximum", "zeros": "empty"}
OTHER_OPERATOR = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.RShift: ast.LShift, ast.BitXor: ast.BitOr, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
OTHER_COMPARISON = {
    ast.Gt: (ast.GtE, ast.LtE), ast.Lt: (ast.LtE, ast.GtE), ast.GtE: (ast.Gt, ast.Lt), ast.LtE: (ast.Lt, ast.Gt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,),
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: characters `start` to `end` of the file's text become `after`."""

    function: str
    line: int
    kind: str
    start: int
    end: int
    before: str
    after: str

    def apply(self, text: str) -> str:
        """The file's text with the change."""
        return text[: self.start] + self.after + text[self.end :]

    def __str__(self) -> str:
        def short(code: str) -> str:
            code = " ".join(code.split())
            return code if len(code) <= 60 else code[:57] + "..."

        return f"{self.line}: {self.function}: {self.kind}: {short(self.before)}  ->  {short(self.after)}"


def mutants_of(text: str, functions: str = ".*") -> list[Mutant]:
    """All mutants of the functions whose names match, in the order of the file; those that change nothing left out."""
    lines = [0]
    for line in text.splitlines(keepends=True):
        lines.append(lines[-1] + len(line.encode()))
    raw = text.encode()

    def place(node: ast.AST) -> tuple[int, int]:
        start = raw[: lines[node.lineno - 1] + node.col_offset].decode()
        end = raw[: lines[node.end_lineno - 1] + node.end_col_offset].decode()
        return len(start), len(end)

    tree = ast.parse(text)
    original = ast.dump(tree)
    found: dict[tuple[int, int, str], Mutant] = {}
    for function in _functions(tree):
        if not re.fullmatch(functions, function.name):
            continue
        for node in _code(function):
            for kind, change in _changes(node):
                start, end = place(node)
                after = change if isinstance(change, str) else ast.unparse(change)
                if isinstance(change, ast.expr) and not isinstance(
                    change, ast.Constant | ast.Name | ast.Tuple | ast.Call
                ):
                    after = f"({after})"
                mutant = Mutant(function.name, node.lineno, kind, start, end, text[start:end], after)
                if ast.dump(_parsed(mutant.apply(text))) != original:
                    found.setdefault((start, end, after), mutant)
    return sorted(found.values(), key=lambda m: (m.start, m.end, m.after))


def _parsed(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError as error:  # a mistake of this file
        raise AssertionError(f"not Python any more: {error}\n{error.text}") from error


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Functions and methods at any level but not those inside functions, which belong to them."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from (item for item in node.body if isinstance(item, ast.FunctionDef))


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only talk: docstrings, annotations, decorators, checks that raise, messages."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST):
                continue
            talks = isinstance(child, ast.Raise | ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom)
            called = isinstance(child, ast.Expr) and isinstance(child.value, ast.Call) and ast.unparse(child.value.func)
            talks |= bool(called) and called.rpartition(".")[2].startswith(("check_", "_prefetch"))
            talks |= isinstance(child, ast.keyword) and child.arg == "copy"  # whether a copy is made: speed alone
            sizes = isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".reshape") and child in node.args
            talks |= sizes and ast.unparse(child) == "-1"  # any negative number means the same there
            docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            checks = isinstance(child, ast.If) and any(isinstance(inner, ast.Raise) for inner in child.body)
            if not (talks or docstring or checks):
                yield child
                yield from _code(child)


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST | str]]:
    """(what is done, what stands there instead) for one node."""
    match node:
        case ast.BinOp(left, operator, right):
            if type(operator) in OTHER_OPERATOR:
                yield "operator", ast.BinOp(left, OTHER_OPERATOR[type(operator)](), right)
            if isinstance(operator, ast.Add | ast.Sub | ast.Mult | ast.Div | ast.MatMult):
                yield "drop term", left
            if isinstance(operator, ast.Add | ast.Mult):
                yield "drop term", right
            if isinstance(operator, ast.Sub):
                yield "drop term", ast.UnaryOp(ast.USub(), right)
        case ast.AugAssign(target, operator, value):
            if type(operator) in OTHER_OPERATOR:
                yield "operator", ast.AugAssign(target, OTHER_OPERATOR[type(operator)](), value)
            yield "overwrite", f"{ast.unparse(target)} = {ast.unparse(value)}"
            yield "delete", "pass"
        case ast.Assign([ast.Subscript() | ast.Attribute()], _) | ast.Expr(ast.Call()):
            yield "delete", "pass"
        case ast.UnaryOp(ast.USub() | ast.Invert() | ast.Not(), operand):
            yield "sign", operand
        case ast.Compare(left, [operator], [right]) if type(operator) in OTHER_COMPARISON:
            for other in OTHER_COMPARISON[type(operator)]:
                yield "comparison", ast.Compare(left, [other()], [right])
        case ast.BoolOp(ast.And(), values):
            yield "logic", ast.BoolOp(ast.Or(), values)
        case ast.BoolOp(ast.Or(), values):
            yield "logic", ast.BoolOp(ast.And(), values)
        case ast.IfExp(test, body, orelse):
            yield "swap branches", ast.IfExp(test, orelse, body)
        case ast.Call(ast.Name(name), arguments, keywords) if name in OTHER_CALL:
            yield "call", ast.Call(ast.Name(OTHER_CALL[name]), arguments, keywords)
        case ast.Call(ast.Attribute(value, name), arguments, keywords) if name in OTHER_CALL:
            yield "call", ast.Call(ast.Attribute(value, OTHER_CALL[name]), arguments, keywords)
        case ast.Name(name, ast.Load()) if name in OTHER_NAME:
            yield "swap axes", ast.Name(OTHER_NAME[name])
        case ast.Constant(bool(value)):
            yield "constant", ast.Constant(not value)
        case ast.Constant(int(value)):
            yield "shift", ast.Constant(value + 1)
            if value > 0:
                yield "shift", ast.Constant(value - 1)
        case ast.Constant(str(value)) if re.fullmatch(r"[a-z]+(,[a-z]+)*->[a-z]{2,}", value):  # einsum
            yield "swap axes", ast.Constant(value[:-2] + value[-1] + value[-2])
        case ast.Tuple([*_, ast.Constant(int(a)), ast.Constant(int(b))] as items) if a != b:
            yield "swap axes", ast.Tuple([*items[:-2], items[-1], items[-2]])
        case ast.Slice(lower, upper, step):
            plus, minus = (
                (lambda x: ast.BinOp(x, ast.Add(), ast.Constant(1))),
                (lambda x: ast.BinOp(x, ast.Sub(), ast.Constant(1))),
            )
            if lower is not None:
                yield "shift", _slice(plus(lower), upper, step)
            if upper is not None:
                yield "shift", _slice(lower, minus(upper), step)
            if step is not None:
                yield "shift", _slice(lower, upper, None)


def _slice(lower: ast.expr | None, upper: ast.expr | None, step: ast.expr | None) -> str:
    """Written out: a slice is no expression of its own."""
    text = f"{'' if lower is None else ast.unparse(lower)}:{'' if upper is None else ast.unparse(upper)}"
    return text if step is None else f"{text}:{ast.unparse(step)}"
