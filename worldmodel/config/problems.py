"""Convert pydantic's validation errors into one-line messages with dotted paths and suggestions.

Locations in pydantic's errors contain the keys of the user and also pydantic's own names of union
members. This module walks through types and data together and keeps only the keys of the user.
"""

import difflib
import json
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from worldmodel.config.renamed import new_name

_HIGH_SIMILARITY = 0.75  # of names, 1 = equal: "max_step" and "max_steps" have 0.94, "std_weight" and "weights" 0.71
_TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}


@dataclass(frozen=True)
class Node:
    """A position in the data: its type, its value (None where it is missing) and its path from the root."""

    hint: Any
    value: Any
    path: tuple[str | int, ...] = ()

    @property
    def dotted(self) -> str:
        return ".".join(map(str, self.path))

    @property
    def model(self) -> type[BaseModel] | None:
        """The pydantic class of this node, selected by its type and its `kind`; None where it has none."""
        member = _resolve_union(self.hint, self.value)
        return member if _is_model(member) else None

    def below(self, part: str | int) -> "Node":
        """The node of one field, key or index."""
        value = None
        if isinstance(self.value, dict):
            value = self.value.get(part)
        elif isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            value = self.value[part]
        return Node(_type_of_child(_resolve_union(self.hint, self.value), part), value, (*self.path, part))


def nodes_on_path(root: Node, location: Sequence[str | int]) -> tuple[list[Node], bool]:
    """The nodes from the root to an error location, and whether the location ends with a union member."""
    trail, hint, on_member = [root], root.hint, False
    for part in location:
        on_member = len(_union_members(hint)) > 1
        if on_member:
            hint = _matching_member(hint, trail[-1].value)
        elif part != "[key]":  # pydantic appends this to a mapping's key where the key itself is wrong
            trail.append(trail[-1].below(part))
            hint = trail[-1].hint
    return trail, on_member


def describe_problems(root: Node, found: ValidationError) -> list[str]:
    """One line for each problem in a ValidationError."""
    located = [(detail, *nodes_on_path(root, detail["loc"])) for detail in found.errors(include_url=False)]
    fitting = [trail[-1].path for detail, trail, on_member in located if not (on_member and _is_type_error(detail))]
    lines: list[str] = []
    for detail, trail, on_member in located:
        path = trail[-1].path
        if on_member and _is_type_error(detail) and any(other[: len(path)] == path for other in fitting):
            continue  # another member of this union fits the value better, and its problem is reported
        lines += _describe(trail, detail)
    return list(dict.fromkeys(lines))


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`; did you mean ...?`, or "" where no name is similar."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def format_value(value: Any) -> str:
    """A value for a message, at most 60 characters."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _describe(trail: Sequence[Node], detail: Any) -> list[str]:
    node, error, message = trail[-1], detail["type"], detail["msg"]
    if error in ("value_error", "assertion_error"):  # from a validator of a class; one line per problem
        lines = [line.strip() for line in str(detail["ctx"]["error"]).splitlines() if line.strip()]
        return [f"{node.dotted}: {line}" if node.path else line for line in lines]
    if error == "extra_forbidden":
        return [_describe_unknown_field(trail)]
    if error == "missing":
        return [f"{node.dotted} is missing; expected {_expected_type(node.hint)}"]
    if error == "union_tag_not_found":
        return [f"{node.dotted}.kind is missing; expected {_any_of(_kinds(node.hint))}"]
    if error == "union_tag_invalid":
        given, kinds = node.value["kind"], _kinds(node.hint)
        return [f"{node.dotted}.kind is {format_value(given)}; expected {_any_of(kinds)}{did_you_mean(str(given), kinds)}"]
    if _is_type_error(detail):
        expected = f"expected {_expected_type(node.hint)}{_advice(node)}"
    else:
        wanted = message.removeprefix("Input should be ")
        expected = f"expected {wanted}" if wanted != message else message
    return [f"{node.dotted} is {format_value(node.value)}; {expected}"]


def _describe_unknown_field(trail: Sequence[Node]) -> str:
    owner, node = trail[-2], trail[-1]
    fields = list(owner.model.model_fields) if owner.model else []
    title = owner.value.get("kind", owner.model.__name__ if owner.model else owner.dotted)
    name = str(node.path[-1])
    new = new_name(tuple(part for part in node.path if isinstance(part, str)))
    if new is not None and (not fields or new in fields):
        return f"{node.dotted} is the old name of this field; it is now {new}"
    suggestion = _did_you_mean_at_any_depth(name, trail[0].hint) if len(node.path) == 1 else ""
    suggestion = suggestion or did_you_mean(name, fields) or "; its fields are " + ", ".join(fields)
    return f"{node.dotted} is not a field of {title}{suggestion}"


def _did_you_mean_at_any_depth(name: str, hint: Any) -> str:
    """Suggest a field of any depth for an unknown key at the root.

    Only a very similar name is suggested, because there are many fields. Of several such fields the
    least deep one is suggested.
    """
    paths: dict[str, str] = {}
    for path in sorted(_field_paths(hint), key=lambda path: path.count(".")):
        paths.setdefault(path.rpartition(".")[2], path)
    close = difflib.get_close_matches(name, paths, n=1, cutoff=_HIGH_SIMILARITY)
    return f"; did you mean {paths[close[0]]}?" if close else ""


def _advice(node: Node) -> str:
    """What to write instead, or "" where the value does not show it."""
    members, value = _union_members(node.hint), node.value
    if isinstance(value, str):
        if value in ("None", "none"):
            return " (write null)"
        choices = [str(choice) for member in members if get_origin(member) is Literal for choice in get_args(member)]
        if near := did_you_mean(value, choices):
            return near
    if value is not None and not isinstance(value, dict | list) and {str, Path} & set(members):
        return " (put it in quotes)"
    if isinstance(value, float) and value.is_integer() and int in members:
        return f" (write {int(value)})"
    return ""


def _expected_type(hint: Any) -> str:
    """The name of a type in a message."""
    kinds = _kinds(hint)
    words = [f"a mapping with kind: {_any_of(kinds)}"] if kinds else [_type_name(member) for member in _union_members(hint)]
    return " or ".join([*dict.fromkeys(words), *(["null"] if _is_nullable(hint) else [])])


def _type_name(member: Any) -> str:
    if len(_union_members(member)) > 1:
        return _expected_type(member)
    arguments, origin = get_args(member), get_origin(member) or member
    if origin is Literal:
        return _any_of([format_value(choice) for choice in arguments])
    if _is_model(member) or issubclass(origin, Mapping):
        return "a mapping"
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)}"
    if issubclass(origin, Iterable) and origin is not str:
        return "a list"
    return _TYPE_NAMES.get(origin, origin.__name__)


def _any_of(words: Sequence[str]) -> str:
    return " or ".join(words) if len(words) < 3 else "one of " + ", ".join(words)


def _is_type_error(detail: Any) -> bool:
    return detail["type"].endswith("_type") or detail["type"] in ("literal_error", "int_from_float")


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel)


def _is_nullable(hint: Any) -> bool:
    unions = (Annotated, Union, types.UnionType)
    return hint is types.NoneType or (get_origin(hint) in unions and any(map(_is_nullable, get_args(hint))))


def _union_members(hint: Any) -> list[Any]:
    """The members of a union without null. A plain type is its own only member."""
    if get_origin(hint) is Annotated:
        return _union_members(get_args(hint)[0])
    if get_origin(hint) not in (Union, types.UnionType):
        return [hint]
    members = [member for member in get_args(hint) if member is not types.NoneType]
    return _union_members(members[0]) if len(members) == 1 else members


def _matching_member(hint: Any, value: Any) -> Any:
    """The member of a union that matches the value's `kind` or its JSON type; else the first."""
    members = _union_members(hint)
    return next((member for member in members if _matches(member, value)), members[0])


def _resolve_union(hint: Any, value: Any) -> Any:
    while len(_union_members(hint)) > 1:
        hint = _matching_member(hint, value)
    return _union_members(hint)[0]


def _matches(member: Any, value: Any) -> bool:
    alternatives = _union_members(member)
    if len(alternatives) > 1:
        return any(_matches(alternative, value) for alternative in alternatives)
    if _is_model(alternatives[0]):
        kinds = _kinds(member)
        return isinstance(value, dict) and (not kinds or value.get("kind") in kinds)
    origin = get_origin(alternatives[0]) or alternatives[0]
    forms = (Mapping,) if isinstance(value, dict) else (Sequence, set, frozenset) if isinstance(value, list) else ()
    return isinstance(origin, type) and issubclass(origin, forms) and origin is not str


def _kinds(hint: Any) -> list[str]:
    """The values of `kind` that select the members of a union."""
    models = [member for member in _union_members(hint) if _is_model(member) and "kind" in member.model_fields]
    nested = [kind for member in _union_members(hint) if len(_union_members(member)) > 1 for kind in _kinds(member)]
    return [str(kind) for model in models for kind in get_args(model.model_fields["kind"].annotation)] + nested


def _type_of_child(hint: Any, part: str | int) -> Any:
    if _is_model(hint):
        return hint.model_fields[part].annotation if part in hint.model_fields else Any
    origin, arguments = get_origin(hint), get_args(hint)
    if not arguments or not isinstance(origin, type):
        return Any
    if issubclass(origin, Mapping):
        return arguments[1]
    return arguments[part] if origin is tuple and isinstance(part, int) and Ellipsis not in arguments else arguments[0]


def _field_paths(hint: Any, depth: int = 4) -> Iterator[str]:
    """Dotted paths of all fields that are reachable without a key or an index."""
    for model in (member for member in _union_members(hint) if _is_model(member)):
        for name, field in model.model_fields.items():
            yield name
            if depth > 1:
                yield from (f"{name}.{path}" for path in _field_paths(field.annotation, depth - 1))
