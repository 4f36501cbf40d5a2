"""Strict YAML and dotted overrides -> a frozen pydantic tree, and back. Knows no field of ours.

Later wins: the defaults of the classes, then the YAML, then overrides such as `train.lr=1e-4`. Nothing is interpolated
or inherited: what is written is what runs.

A field takes what its type says, with two allowances where only one reading is possible: a number field takes text that
spells such a number ("1e-4", 100_000), and a text or path field takes a whole number as its digits (`run: 7`). A text
field refuses 1.10 and true, since their spelling is lost once they are read: put them in quotes.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, to_jsonable_python

from worldmodel.config.comments import comments_of
from worldmodel.config.problems import Node, locate, nearest, problems_of, shown
from worldmodel.config.yaml_text import MAX_BYTES, read_yaml, write_yaml
from worldmodel.files.atomic import write_text

_SPELT_INTEGER = re.compile(r"[-+]?[0-9]+(_[0-9]+)*")
_SPELT_FLOAT = re.compile(r"[-+]?([0-9]+(_[0-9]+)*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")


class Config(BaseModel):
    """A part of a recipe; subclass it beside the component it configures.

    A union is chosen by a field `kind: Literal["name"] = "name"` and declared with `Field(discriminator="kind")`.
    A check across fields is a `model_validator(mode="after")` that raises ValueError; several problems are several
    lines of its text. (Not mode "before": after it pydantic forgets that it read JSON, where a list is a tuple.)
    A comment behind a field, or right above it, is its description in `schema` and in config_explained.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="constants")

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /) -> dict[str, Any]:
        found = handler(core_schema)
        fields = handler.resolve_ref_schema(found).get("properties", {})
        for name, comment in comments_of(cls).items():  # read when asked for: importing stays fast
            if name in fields:
                fields[name].setdefault("description", comment)
        return found


class ConfigError(ValueError):
    """Every problem of a configuration at once: `problems`, one line each; `str` shows the same lines."""

    def __init__(self, problems: Sequence[str]):
        super().__init__("\n".join(problems))
        self.problems = list(problems)


T = TypeVar("T", bound=Config)


def load(cls: type[T], path: Path | str, overrides: Sequence[str] = ()) -> T:
    """Read one YAML file and lay the overrides over it, in order.

    A mapping in the YAML is whole: what it leaves out takes the defaults of its class. An override below a node that
    the YAML leaves out changes that node's default and keeps the rest of it. Each line of the ConfigError names the
    file or, where the file alone has no such problem, the command line.
    """
    written = read(Path(path))
    data = _plain(written, str(path))
    refused = [problem for text in overrides for problem in _override(cls, data, text)]
    config, problems = _validate(cls, data)
    if config is None or refused:
        of_the_file = _validate(cls, written)[1]
        found = [f"{path if line in of_the_file else 'command line'}: {line}" for line in problems]
        raise ConfigError(refused + found)
    return config


def parse(cls: type[T], data: Mapping[str, Any], where: str) -> T:
    """Hold a mapping already in memory to the same checks; `where` stands in the messages for the file's name."""
    config, problems = _validate(cls, _plain(_mapping(data, where), where))
    if config is None:
        raise ConfigError([f"{where}: {problem}" for problem in problems])
    return config


def read(path: Path) -> Mapping[str, Any]:
    """What stands in one YAML file, held to no class yet."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        beside = [str(other) for other in sorted(path.parent.glob("*.y*ml"))]
        raise ConfigError([f"{path}: no such file{nearest(str(path), beside)}"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    try:
        data = read_yaml(content)
    except ValueError as error:
        raise ConfigError([f"{path}: {error}"]) from None
    return _mapping(_plain(data, str(path)), str(path))


def dump(config: Config) -> str:
    """YAML with every default written out, in the order of the fields, `kind` first; `load` gives an equal tree."""
    return write_yaml(_kind_first(to_jsonable_python(config)))


def save(config: Config, path: Path | str) -> None:
    """Write `dump(config)`; the folder is made where it is missing. Raises OutputError."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, dump(config))


def schema(cls: type[Config]) -> dict[str, Any]:
    """JSON schema, with which an editor completes, checks and explains the YAML."""
    return cls.model_json_schema()


def _validate(cls: type[T], data: Mapping[str, Any]) -> tuple[T | None, list[str]]:
    """The tree, or what is wrong. By way of JSON: pydantic's strict JSON takes lists for tuples and text for paths."""
    root = Node(cls, json.loads(json.dumps(data)))
    reread: set[tuple[str | int, ...]] = set()
    while True:
        try:
            return cls.model_validate_json(json.dumps(root.value), strict=True), []
        except ValidationError as error:
            found = error
        before = len(reread)
        for detail in found.errors(include_url=False):
            trail, _ = locate(root, detail["loc"])
            path, reading = trail[-1].path, _other_reading(trail[-1].value, detail["type"])
            if reading is not None and path not in reread:
                reread.add(path)
                trail[-2].value[path[-1]] = reading
        if len(reread) == before:
            return None, problems_of(root, found)


def _other_reading(value: Any, error: str) -> str | int | float | None:
    """The one other way to read a value that a field refused, if there is one: see the top of this file."""
    if error == "float_type" and isinstance(value, str) and _SPELT_FLOAT.fullmatch(value):
        return float(value)
    if error == "int_type" and isinstance(value, str) and _SPELT_INTEGER.fullmatch(value):
        return int(value)
    return str(value) if error in ("string_type", "path_type") and type(value) is int else None


def _override(cls: type[Config], data: dict[str, Any], text: str) -> list[str]:
    """Lay one `a.b=value` over the data, in place; returns problems."""
    dotted, equals, written = text.partition("=")
    *parents, last = dotted.strip().split(".")
    if not (equals and last and all(parents)):
        return [f"command line: {text!r} is not an override; write a.b=value, for example train.lr=1e-4"]
    try:
        value = _plain(read_yaml(written), f"command line: {text}")
    except ConfigError as error:
        return error.problems
    except ValueError as error:
        return [f"command line: {text}: {error}"]
    node = Node(cls, data)
    for part in parents:
        key, problem = _key(node, part)
        if problem:
            return [f"command line: {text}: {problem}"]
        if isinstance(node.value, dict) and key not in node.value:
            node.value[key] = _default(node, part)
        node = node.below(key)
    key, problem = _key(node, last)
    if problem:
        return [f"command line: {text}: {problem}"]
    node.value[key] = value
    return []


def _key(node: Node, part: str) -> tuple[str | int, str]:
    """What an override's part means below this node, and what is wrong with that."""
    if isinstance(node.value, dict):
        return part, ""
    if not isinstance(node.value, list):
        whole = f"{node.dotted}={{...}}"
        return part, f"{node.dotted} is {shown(node.value)}, which has no {part!r} below it; give all of it: {whole}"
    if part.isdecimal() and int(part) < len(node.value):
        return int(part), ""
    return part, f"{node.dotted} is a list of {len(node.value)}; {part!r} is not an index of it (they start at 0)"


def _default(node: Node, name: str) -> Any:
    """The default of a field that the YAML leaves out; without one an empty mapping, whose gaps are then named."""
    field = node.model.model_fields.get(name) if node.model else None
    if field is None or field.is_required():
        return {}
    return to_jsonable_python(field.get_default(call_default_factory=True))


def _mapping(data: Any, where: str) -> Mapping[str, Any]:
    if isinstance(data, Mapping):
        return data
    found = "nothing" if data is None else shown(data)
    raise ConfigError([f"{where}: expected a mapping of field names to values, found {found}"])


def _plain(data: Any, where: str) -> Any:
    """A deep copy in JSON's types: tuples become lists; paths and keys text."""
    try:
        return json.loads(json.dumps(data, default=str))
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigError([f"{where}: {error}"]) from None


def _kind_first(data: Any) -> Any:
    if isinstance(data, list):
        return [_kind_first(value) for value in data]
    if isinstance(data, dict):
        return {key: _kind_first(data[key]) for key in sorted(data, key=lambda key: key != "kind")}
    return data
