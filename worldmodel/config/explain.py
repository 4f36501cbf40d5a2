"""Format a configuration as YAML with all defaults and with the docstrings of its fields as comments."""

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from worldmodel.config import Config, dump_config

_WIDTH = 128
_MAX_SUMMARY = 240  # characters; longer summaries of classes are not shown


def explain(config: Config) -> str:
    """`dump_config(config)` with comments.

    The docstring of a field follows it on its line where it fits, else it stands above it. The
    summary of a nested class stands above the field that holds it.
    """
    text = dump_config(config)
    inserted: list[tuple[int, str]] = []  # offset in the text, comment
    for key, value, summary, comment in _entries(yaml.compose(text, Loader=yaml.SafeLoader), config):
        start = text.rfind("\n", 0, key.start_mark.index) + 1
        end = text.index("\n", start)
        line = key.end_mark.line
        whole = value.start_mark.line > line or value.end_mark.line == line  # else the comment would be inside the value
        fits = whole and end - start + len(f"  # {comment}") <= _WIDTH
        indent = key.start_mark.column
        if text[start : start + indent].strip() == "-":
            indent -= 2  # the first entry of a list item follows a dash; its comment stands above the dash
        prefix = " " * indent + "# "
        for comment_above in (summary, "" if fits else comment):
            lines = textwrap.wrap(comment_above, _WIDTH, initial_indent=prefix, subsequent_indent=prefix)
            inserted.append((start, "".join(f"{line}\n" for line in lines)))
        if comment and fits:
            inserted.append((end, f"  # {comment}"))
    pieces, start = [], 0
    for offset, comment in inserted:
        pieces += [text[start:offset], comment]
        start = offset
    return "".join((*pieces, text[start:]))


def _entries(node: yaml.Node | None, value: Any) -> Iterator[tuple[yaml.Node, yaml.Node, str, str]]:
    """(key, value, summary of the value's class, description of the field) of every entry at any depth."""
    if isinstance(node, yaml.MappingNode):
        fields = type(value).model_fields if isinstance(value, Config) else {}
        for key, child_node in node.value:
            child = getattr(value, key.value) if isinstance(value, Config) else value.get(key.value)
            summary = _summary(type(child)) if isinstance(child, Config) else ""
            comment = _one_line(fields[key.value].description) if key.value in fields else ""
            yield key, child_node, summary if len(summary) <= _MAX_SUMMARY else "", comment
            yield from _entries(child_node, child)
    elif isinstance(node, yaml.SequenceNode):
        for child_node, child in zip(node.value, value, strict=True):
            yield from _entries(child_node, child)


def _summary(cls: type) -> str:
    """The first paragraph of a class's docstring, on one line. It is empty where the class has no docstring."""
    return _one_line((cls.__doc__ or "").strip().partition("\n\n")[0])


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
