"""pydantic's errors -> one line each, in words, by dotted path, with the nearest valid name.

pydantic's locations hold, beside the keys a user wrote, its own names for the members of a union. Here the types and
the data are walked together, so that only what the user wrote is left.
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

_VERY_NEAR = 0.75  # likeness of names, 1 = equal: "updats" and "updates" are .92, "std_weight" and "weights" .71
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}


@dataclass(frozen=True)
class Node:
    """A place in the data: what its type may be, what stands there (None if nothing does), its path from the root."""

    hint: Any
    value: Any
    path: tuple[str | int, ...] = ()

    @property
    def dotted(self) -> str:
        return ".".join(map(str, self.path))

    @property
    def model(self) -> type[BaseModel] | None:
        """The pydantic class that types and `kind` give this place, if any."""
        member = _settled(self.hint, self.value)
        return member if _is_model(member) else None

    def below(self, part: str | int) -> "Node":
        """The node of one field, key or index."""
        value = None
        if isinstance(self.value, dict):
            value = self.value.get(part)
        elif isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            value = self.value[part]
        return Node(_hint_below(_settled(self.hint, self.value), part), value, (*self.path, part))


def locate(root: Node, location: Sequence[str | int]) -> tuple[list[Node], bool]:
    """The nodes from the root to pydantic's location, and whether that ends on the name of a union's member."""
    trail, hint, on_member = [root], root.hint, False
    for part in location:
        on_member = len(_alternatives(hint)) > 1
        if on_member:
            hint = _member(hint, trail[-1].value)
        elif part != "[key]":  # said after a mapping's key when the key itself is wrong
            trail.append(trail[-1].below(part))
            hint = trail[-1].hint
    return trail, on_member


def problems_of(root: Node, found: ValidationError) -> list[str]:
    """One line for each thing to mend."""
    located = [(detail, *locate(root, detail["loc"])) for detail in found.errors(include_url=False)]
    fitting = [trail[-1].path for detail, trail, on_member in located if not (on_member and _is_mistyped(detail))]
    lines: list[str] = []
    for detail, trail, on_member in located:
        path = trail[-1].path
        if on_member and _is_mistyped(detail) and any(other[: len(path)] == path for other in fitting):
            continue  # another member of this union fits the value better, and what is wrong with it there is said
        lines += _explain(trail, detail)
    return list(dict.fromkeys(lines))


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean ...?`, or nothing where no name is near."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def shown(value: Any) -> str:
    """A value as a message shows it, cut where it is long."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _explain(trail: Sequence[Node], detail: Any) -> list[str]:
    node, error, message = trail[-1], detail["type"], detail["msg"]
    if error in ("value_error", "assertion_error"):  # said by a validator of the owner, perhaps several at once
        said = [line.strip() for line in str(detail["ctx"]["error"]).splitlines() if line.strip()]
        return [f"{node.dotted}: {line}" if node.path else line for line in said]
    if error == "extra_forbidden":
        return [_unknown(trail)]
    if error == "missing":
        return [f"{node.dotted} is missing; expected {_wanted(node.hint)}"]
    if error == "union_tag_not_found":
        return [f"{node.dotted}.kind is missing; expected {_either(_kinds(node.hint))}"]
    if error == "union_tag_invalid":
        given, kinds = node.value["kind"], _kinds(node.hint)
        return [f"{node.dotted}.kind is {shown(given)}; expected {_either(kinds)}{nearest(str(given), kinds)}"]
    if _is_mistyped(detail):
        expected = f"expected {_wanted(node.hint)}{_advice(node)}"
    else:
        wanted = message.removeprefix("Input should be ")
        expected = f"expected {wanted}" if wanted != message else message
    return [f"{node.dotted} is {shown(node.value)}; {expected}"]


def _unknown(trail: Sequence[Node]) -> str:
    owner, node = trail[-2], trail[-1]
    fields = list(owner.model.model_fields) if owner.model else []
    title = owner.value.get("kind", owner.model.__name__ if owner.model else owner.dotted)
    name = str(node.path[-1])
    new = new_name(tuple(part for part in node.path if isinstance(part, str)))
    if new is not None and (not fields or new in fields):
        return f"{node.dotted} is the old name of this field; it is now {new}"
    suggestion = _nearest_at_any_depth(name, trail[0].hint) if len(node.path) == 1 else ""
    suggestion = suggestion or nearest(name, fields) or "; its fields are " + ", ".join(fields)
    return f"{node.dotted} is not a field of {title}{suggestion}"


def _nearest_at_any_depth(name: str, hint: Any) -> str:
    """For what is written at the root: perhaps it is a field from further down. There are many of them, so that only one very
    much like it is named, by its path; of several alike the first that is least deep."""
    paths: dict[str, str] = {}
    for path in sorted(_field_paths(hint), key=lambda path: path.count(".")):
        paths.setdefault(path.rpartition(".")[2], path)
    close = difflib.get_close_matches(name, paths, n=1, cutoff=_VERY_NEAR)
    return f"; did you mean {paths[close[0]]}?" if close else ""


def _advice(node: Node) -> str:
    """What to write instead, where that can be told from the value."""
    members, value = _alternatives(node.hint), node.value
    if isinstance(value, str):
        if value in ("None", "none"):
            return " (nothing is written null)"
        choices = [str(choice) for member in members if get_origin(member) is Literal for choice in get_args(member)]
        if near := nearest(value, choices):
            return near
    if value is not None and not isinstance(value, dict | list) and {str, Path} & set(members):
        return " (put it in quotes)"
    if isinstance(value, float) and value.is_integer() and int in members:
        return f" (write {int(value)})"
    return ""


def _wanted(hint: Any) -> str:
    """A type in a user's words."""
    kinds = _kinds(hint)
    words = [f"a mapping with kind: {_either(kinds)}"] if kinds else [_word(member) for member in _alternatives(hint)]
    return " or ".join([*dict.fromkeys(words), *(["null"] if _is_nullable(hint) else [])])


def _word(member: Any) -> str:
    if len(_alternatives(member)) > 1:
        return _wanted(member)
    arguments, origin = get_args(member), get_origin(member) or member
    if origin is Literal:
        return _either([shown(choice) for choice in arguments])
    if _is_model(member) or issubclass(origin, Mapping):
        return "a mapping"
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"a list of {len(arguments)}"
    if issubclass(origin, Iterable) and origin is not str:
        return "a list"
    return _WORDS.get(origin, origin.__name__)


def _either(words: Sequence[str]) -> str:
    return " or ".join(words) if len(words) < 3 else "one of " + ", ".join(words)


def _is_mistyped(detail: Any) -> bool:
    return detail["type"].endswith("_type") or detail["type"] in ("literal_error", "int_from_float")


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel)


def _is_nullable(hint: Any) -> bool:
    unions = (Annotated, Union, types.UnionType)
    return hint is types.NoneType or (get_origin(hint) in unions and any(map(_is_nullable, get_args(hint))))


def _alternatives(hint: Any) -> list[Any]:
    """The members of a union, null aside; a plain type is its own only member."""
    if get_origin(hint) is Annotated:
        return _alternatives(get_args(hint)[0])
    if get_origin(hint) not in (Union, types.UnionType):
        return [hint]
    members = [member for member in get_args(hint) if member is not types.NoneType]
    return _alternatives(members[0]) if len(members) == 1 else members


def _member(hint: Any, value: Any) -> Any:
    """The member of a union that the value's `kind` or form speaks for."""
    members = _alternatives(hint)
    return next((member for member in members if _fits(member, value)), members[0])


def _settled(hint: Any, value: Any) -> Any:
    while len(_alternatives(hint)) > 1:
        hint = _member(hint, value)
    return _alternatives(hint)[0]


def _fits(member: Any, value: Any) -> bool:
    alternatives = _alternatives(member)
    if len(alternatives) > 1:
        return any(_fits(alternative, value) for alternative in alternatives)
    if _is_model(alternatives[0]):
        kinds = _kinds(member)
        return isinstance(value, dict) and (not kinds or value.get("kind") in kinds)
    origin = get_origin(alternatives[0]) or alternatives[0]
    forms = (Mapping,) if isinstance(value, dict) else (Sequence, set, frozenset) if isinstance(value, list) else ()
    return isinstance(origin, type) and issubclass(origin, forms) and origin is not str


def _kinds(hint: Any) -> list[str]:
    """The names by which `kind` chooses among the members."""
    models = [member for member in _alternatives(hint) if _is_model(member) and "kind" in member.model_fields]
    nested = [kind for member in _alternatives(hint) if len(_alternatives(member)) > 1 for kind in _kinds(member)]
    return [str(kind) for model in models for kind in get_args(model.model_fields["kind"].annotation)] + nested


def _hint_below(hint: Any, part: str | int) -> Any:
    if _is_model(hint):
        return hint.model_fields[part].annotation if part in hint.model_fields else Any
    origin, arguments = get_origin(hint), get_args(hint)
    if not arguments or not isinstance(origin, type):
        return Any
    if issubclass(origin, Mapping):
        return arguments[1]
    return arguments[part] if origin is tuple and isinstance(part, int) and Ellipsis not in arguments else arguments[0]


def _field_paths(hint: Any, depth: int = 4) -> Iterator[str]:
    """Dotted paths of all fields that need no key or index to reach."""
    for model in (member for member in _alternatives(hint) if _is_model(member)):
        for name, field in model.model_fields.items():
            yield name
            if depth > 1:
                yield from (f"{name}.{path}" for path in _field_paths(field.annotation, depth - 1))
