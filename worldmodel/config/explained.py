"""A configuration as YAML that explains itself: every default, and beside each field what its class says of it."""

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from worldmodel.config import Config, dump
from worldmodel.config.comments import comments_of, summary_of

_WIDTH = 128
_SHORT = 240  # characters; a longer summary is left to the source


def explained(config: Config) -> str:
    """`dump(config)` with comments: behind a field where they fit on its line, else above it; a part's own summary above it."""
    text = dump(config)
    inserted: list[tuple[int, str]] = []  # where, what
    for key, value, summary, comment in _entries(yaml.compose(text, Loader=yaml.SafeLoader), config):
        start = text.rfind("\n", 0, key.start_mark.index) + 1
        end = text.index("\n", start)
        line = key.end_mark.line
        whole = value.start_mark.line > line or value.end_mark.line == line  # else the comment would stand within the value
        fits = whole and end - start + len(f"  # {comment}") <= _WIDTH
        indent = key.start_mark.column
        if text[start : start + indent].strip() == "-":
            indent -= 2  # the first entry of an item of a list stands behind its dash; what is said of it, above the dash
        sign = " " * indent + "# "
        for said in (summary, "" if fits else comment):
            lines = textwrap.wrap(said, _WIDTH, initial_indent=sign, subsequent_indent=sign)
            inserted.append((start, "".join(f"{line}\n" for line in lines)))
        if comment and fits:
            inserted.append((end, f"  # {comment}"))
    pieces, at = [], 0
    for place, words in inserted:
        pieces += [text[at:place], words]
        at = place
    return "".join((*pieces, text[at:]))


def _entries(node: yaml.Node | None, value: Any) -> Iterator[tuple[yaml.Node, yaml.Node, str, str]]:
    """(key, value, summary of the value's class, comment of the field) of every entry, however deep."""
    if isinstance(node, yaml.MappingNode):
        comments = comments_of(type(value)) if isinstance(value, Config) else {}
        for key, below in node.value:
            there = getattr(value, key.value) if isinstance(value, Config) else value.get(key.value)
            summary = summary_of(type(there)) if isinstance(there, Config) else ""
            yield key, below, summary if len(summary) <= _SHORT else "", comments.get(key.value, "")
            yield from _entries(below, there)
    elif isinstance(node, yaml.SequenceNode):
        for below, there in zip(node.value, value, strict=True):
            yield from _entries(below, there)
