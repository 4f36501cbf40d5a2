"""Convert strict YAML and dotted overrides into frozen pydantic models, and back.

Values have this priority, lowest first: defaults of the classes, the YAML file, overrides such as
`train.lr=1e-4`. There is no interpolation and no inheritance between files.

Types are strict, with two exceptions: a number field accepts text that is such a number ("1e-4",
100_000), and a text or path field accepts a whole number (`run: 7`). A text field refuses 1.10 and
true, because their spelling is lost when YAML is parsed. Such values need quotes.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_jsonable_python

from worldmodel.config.problems import Node, describe_problems, did_you_mean, format_value, nodes_on_path
from worldmodel.config.renamed import with_new_keys
from worldmodel.config.yaml_text import MAX_BYTES, read_yaml, write_yaml
from worldmodel.files.atomic import write_text

_INTEGER_TEXT = re.compile(r"[-+]?[0-9]+(_[0-9]+)*")
_FLOAT_TEXT = re.compile(r"[-+]?([0-9]+(_[0-9]+)*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")


class Config(BaseModel):
    """Base class of all parts of a recipe. A subclass stands beside the component that it configures.

    Members of a union have a field `kind: Literal["name"] = "name"`; the union is declared with
    `Field(discriminator="kind")`. A check across fields is a `model_validator(mode="after")` that
    raises ValueError with one line per problem. (With mode "before", pydantic would no longer know
    that the input is JSON, where a list stands for a tuple.) The docstring below a field is its
    description in `json_schema` and in `explain`.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        ser_json_inf_nan="constants",
        use_attribute_docstrings=True,
    )


class ConfigError(ValueError):
    """All problems of a configuration. `problems` has one line per problem; `str` joins these lines."""

    def __init__(self, problems: Sequence[str]):
        super().__init__("\n".join(problems))
        self.problems = list(problems)


T = TypeVar("T", bound=Config)


def load_config(cls: type[T], path: Path | str, overrides: Sequence[str] = (), accept_old_keys: bool = False) -> T:
    """Read a YAML file and apply overrides in order.

    A mapping in the YAML replaces the whole default: keys that it omits get the defaults of its
    class. An override below a key that the YAML omits changes one part of that key's default. Each
    line of the ConfigError names the file, or the command line where the file alone has no such
    problem.

    accept_old_keys: read keys of earlier versions with their new names, for a recipe that training
    wrote itself. Otherwise they are errors that name the new key.
    """
    written = read_config_file(Path(path))
    if accept_old_keys:
        written = with_new_keys(written)
    data = _to_json_types(written, str(path))
    refused = [problem for text in overrides for problem in _apply_override(cls, data, text)]
    config, problems = _validate(cls, data)
    if config is None or refused:
        file_problems = _validate(cls, written)[1]
        found = [f"{path if line in file_problems else 'command line'}: {line}" for line in problems]
        raise ConfigError(refused + found)
    return config


def parse_config(cls: type[T], data: Mapping[str, Any], source: str) -> T:
    """Validate a mapping as `load_config` does. Messages name `source` instead of a file."""
    config, problems = _validate(cls, _to_json_types(_require_mapping(data, source), source))
    if config is None:
        raise ConfigError([f"{source}: {problem}" for problem in problems])
    return config


def read_config_file(path: Path) -> Mapping[str, Any]:
    """Read a YAML file as a mapping, without validation by a class. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        beside = [str(other) for other in sorted(path.parent.glob("*.y*ml"))]
        raise ConfigError([f"{path}: no such file{did_you_mean(str(path), beside)}"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    try:
        data = read_yaml(content)
    except ValueError as error:
        raise ConfigError([f"{path}: {error}"]) from None
    return _require_mapping(_to_json_types(data, str(path)), str(path))


def dump_config(config: Config) -> str:
    """Format a configuration as YAML with all defaults: fields in order of declaration, `kind` first.

    `load_config` gives an equal configuration.
    """
    return write_yaml(_kind_first(to_jsonable_python(config)))


def save_config(config: Config, path: Path | str) -> None:
    """Write `dump_config(config)` to a file and create missing parent folders. Raises OutputError."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, dump_config(config))


def json_schema(cls: type[Config]) -> dict[str, Any]:
    """JSON schema of a class, for completion, checks and descriptions in an editor."""
    return cls.model_json_schema()


def _validate(cls: type[T], data: Mapping[str, Any]) -> tuple[T | None, list[str]]:
    """The validated configuration, or None and its problems.

    The data passes through JSON, because pydantic's strict JSON mode accepts lists for tuples and
    text for paths.
    """
    root = Node(cls, json.loads(json.dumps(data)))
    reread: set[tuple[str | int, ...]] = set()
    while True:
        try:
            return cls.model_validate_json(json.dumps(root.value), strict=True), []
        except ValidationError as error:
            found = error
        before = len(reread)
        for detail in found.errors(include_url=False):
            trail, _ = nodes_on_path(root, detail["loc"])
            path, reading = trail[-1].path, _alternative_reading(trail[-1].value, detail["type"])
            if reading is not None and path not in reread:
                reread.add(path)
                trail[-2].value[path[-1]] = reading
        if len(reread) == before:
            return None, describe_problems(root, found)


def _alternative_reading(value: Any, error: str) -> str | int | float | None:
    """The value after one of the two accepted conversions (see the module docstring), else None."""
    if error == "float_type" and isinstance(value, str) and _FLOAT_TEXT.fullmatch(value):
        return float(value)
    if error == "int_type" and isinstance(value, str) and _INTEGER_TEXT.fullmatch(value):
        return int(value)
    return str(value) if error in ("string_type", "path_type") and type(value) is int else None


def _apply_override(cls: type[Config], data: dict[str, Any], text: str) -> list[str]:
    """Apply one `a.b=value` to the data in place. Returns problems."""
    dotted, equals, written = text.partition("=")
    *parents, last = dotted.strip().split(".")
    if not (equals and last and all(parents)):
        return [f"command line: {text!r} is not an override; write a.b=value, for example train.lr=1e-4"]
    try:
        value = _to_json_types(read_yaml(written), f"command line: {text}")
    except ConfigError as error:
        return error.problems
    except ValueError as error:
        return [f"command line: {text}: {error}"]
    node = Node(cls, data)
    for part in parents:
        key, problem = _key_of_part(node, part)
        if problem:
            return [f"command line: {text}: {problem}"]
        if isinstance(node.value, dict) and key not in node.value:
            node.value[key] = _default_of_field(node, part)
        node = node.below(key)
    key, problem = _key_of_part(node, last)
    if problem:
        return [f"command line: {text}: {problem}"]
    node.value[key] = value
    return []


def _key_of_part(node: Node, part: str) -> tuple[str | int, str]:
    """The key or index that one part of an override names in this node, and a problem or ""."""
    if isinstance(node.value, dict):
        return part, ""
    if not isinstance(node.value, list):
        given = f"{node.dotted} is {format_value(node.value)}"
        return part, f"{given}, which has no field {part!r}; set the whole value: {node.dotted}={{...}}"
    if part.isdecimal() and int(part) < len(node.value):
        return int(part), ""
    return part, f"{node.dotted} is a list of {len(node.value)}; {part!r} is not an index of it (indices start at 0)"


def _default_of_field(node: Node, name: str) -> Any:
    """The default of a field that the YAML omits.

    A required field gives an empty mapping; its missing fields are reported later.
    """
    field = node.model.model_fields.get(name) if node.model else None
    if field is None or field.is_required():
        return {}
    return to_jsonable_python(field.get_default(call_default_factory=True))


def _require_mapping(data: Any, source: str) -> Mapping[str, Any]:
    if isinstance(data, Mapping):
        return data
    found = "nothing" if data is None else format_value(data)
    raise ConfigError([f"{source}: expected a mapping of field names to values, found {found}"])


def _to_json_types(data: Any, source: str) -> Any:
    """A deep copy in JSON types: tuples become lists; paths and keys become text."""
    try:
        return json.loads(json.dumps(data, default=str))
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigError([f"{source}: {error}"]) from None


def _kind_first(data: Any) -> Any:
    if isinstance(data, list):
        return [_kind_first(value) for value in data]
    if isinstance(data, dict):
        return {key: _kind_first(data[key]) for key in sorted(data, key=lambda key: key != "kind")}
    return data
