"""What the fields of a class mean: the comments behind them or right above them in its source.

So each is written once, where the code is read, and shown where a recipe is written: in editors and by `recipe show`.
"""

import ast
import functools
import inspect
import io
import textwrap
import tokenize

from pydantic import BaseModel


@functools.cache
def comments_of(cls: type) -> dict[str, str]:
    """Field -> its comment on one line, those of the classes it inherits from included; none where there is no source."""
    inherited = [comments_of(base) for base in reversed(cls.__bases__) if issubclass(base, BaseModel) and base is not BaseModel]
    return {name: text for comments in (*inherited, _own(cls)) for name, text in comments.items()}


def summary_of(cls: type) -> str:
    """The first paragraph of a class's own docstring, on one line; "" without one."""
    return " ".join((cls.__doc__ or "").strip().partition("\n\n")[0].split())


def _own(cls: type) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(cls))
        body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    except (OSError, TypeError, SyntaxError):  # made in a shell, built in, or edited since it was imported
        return {}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token for token in tokens if token.type == tokenize.COMMENT}
    alone = {row for row, token in comments.items() if not token.line[: token.start[1]].strip()}
    found = {}
    for field in body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            first = field.lineno
            while first - 1 in alone:
                first -= 1
            rows = range(first, (field.end_lineno or field.lineno) + 1)
            if said := " ".join(filter(None, (_words(comments[row].string) for row in rows if row in comments))):
                found[field.target.id] = said
    return found


def _words(comment: str) -> str:
    """Without the sign, and without what is meant for tools."""
    words = comment.lstrip("#").strip()
    return "" if words.startswith(("noqa", "type:", "fmt:")) else words
