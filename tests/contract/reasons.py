"""Which reasons each service raises, read from its source."""

import ast
from collections.abc import Iterator
from pathlib import Path

from servicekit import errors

REPOSITORY = Path(__file__).parents[2]
HELPERS = {"_refusal": "INVALID_ARGUMENT"}  # makes its caller's reason an error
KINDS = {
    name: kind.code.name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.ServiceError)
} | HELPERS
BACKENDS = ("VISION", "SPEECH")  # whom the llm service may miss
OF_THE_LLM = ("breaker.py", "tensors.py")  # parts of servicekit that answer to no caller but through it


def raised(*sources: Path) -> set[tuple[str, str]]:
    """Code and reason of each error that the sources make."""
    return {pair for source in sources for pair in _in(source)}


def sources(folder: str) -> list[Path]:
    return sorted((REPOSITORY / folder).rglob("*.py"))


def _in(source: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in KINDS
            and node.args
        ):
            for reason in _reasons(node.args[0]):
                yield KINDS[node.func.id], reason


def _reasons(argument: ast.expr) -> list[str]:
    """One that is written out, or one that names a backend; one that is passed on was raised elsewhere."""
    match argument:
        case ast.Constant(value=str(reason)):
            return [reason]
        case ast.JoinedStr(values=[ast.FormattedValue(), ast.Constant(value="_UNAVAILABLE")]):
            return [f"{backend}_UNAVAILABLE" for backend in BACKENDS]
        case ast.Attribute(attr="reason") | ast.Name(id="reason"):
            return []
    raise AssertionError(f"no reason can be read from {ast.unparse(argument)}")
