"""Read and write the YAML of configurations, safely and strictly.

A text may be hostile. Its length, its depth and its length after the expansion of aliases are
limited. Plain scalars follow YAML 1.2: `1e-4` is a number; `no`, `on`, `12:30`, `010` and dates are
text. Merge keys (`<<`) are not supported, and duplicate keys are errors.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml

_FLOAT = re.compile(
    r"""^(?: [-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?
          | [-+]?[0-9]+[eE][-+]?[0-9]+
          | [-+]?\.(?:inf|Inf|INF) | \.(?:nan|NaN|NAN) )$""",
    re.VERBOSE,
)
_PLAIN_SCALARS = [  # types of plain scalars: tag, pattern, possible first characters; all others are text
    ("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("tag:yaml.org,2002:int", re.compile(r"^-?(?:0|[1-9][0-9]*)$"), list("-0123456789")),
    ("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789")),
]


MAX_BYTES = 1_000_000  # length of a text; a recipe has a few thousand bytes
MAX_COST = 2_000_000  # of a text with expanded aliases: its number of characters, plus NODE_COST per value
NODE_COST = 50
MAX_DEPTH = 50


_TAGS = {"!", *(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map"))}


def read_yaml(content: bytes | str) -> Any:
    """Parse YAML. Raises ValueError with a one-line reason; for bytes (a file) it names the line."""
    if len(content) > MAX_BYTES:
        raise ValueError(f"invalid YAML: it has {len(content):,} bytes or more; the limit is {MAX_BYTES:,}")
    try:
        return yaml.load(content, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark and isinstance(content, bytes) else ""
        reason = f"{line}{error.problem or error.context}"
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
    except (KeyError, IndexError, AttributeError, TypeError, OverflowError):  # PyYAML raises these for `!!bool maybe`
        reason = "a value does not have the type of its tag (!!...)"
    raise ValueError(f"invalid YAML: {reason}")


def write_yaml(data: Any) -> str:
    """Format data as YAML that readers of version 1.1 and of version 1.2 parse to the same values.

    The order of mappings is preserved. Lists of scalars are written on one line.
    """
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML is configured by class attributes

    def __init__(self, content: bytes | str) -> None:
        super().__init__(content)
        self._depth, self._cost = 0, 0
        self._costs: dict[int, int] = {}  # cost of each complete node, by its id()

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node within the limits. An alias costs as much as the node that it repeats."""
        event, before = self.peek_event(), self._cost
        mark: Any = event.start_mark
        if (tag := getattr(event, "tag", None)) is not None and tag not in _TAGS:
            raise yaml.composer.ComposerError(None, None, f"the tag {tag} is not allowed", mark)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested more than {MAX_DEPTH} levels deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._costs:
                problem = f"*{event.anchor} refers to the value that contains it"
                raise yaml.composer.ComposerError(None, None, problem, mark)
            self._cost += self._costs[id(node)]
        else:
            self._cost += NODE_COST + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)
            self._costs[id(node)] = self._cost - before
        if self._cost > MAX_COST:
            problem = "too many values, or too many repeated by aliases (*name)"
            raise yaml.composer.ComposerError(None, None, problem, mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"duplicate key {key.value!r}"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Parse decimal numbers only.

        PyYAML also parses numbers of base 60, in a time that grows with the square of their length.
        """
        text = str(self.construct_scalar(node))
        is_whole = node.tag.endswith(":int")
        if not re.fullmatch(r"[-+]?[0-9]{1,4300}", text) and (is_whole or not _FLOAT.match(text)):
            raise yaml.constructor.ConstructorError(None, None, "not a supported number", node.start_mark)
        return int(text) if is_whole else self.construct_yaml_float(node)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_list(dumper: _Dumper, values: list[Any]) -> yaml.Node:
    inline = not any(isinstance(value, dict | list) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=inline)


for _tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
    _Loader.add_constructor(_tag, _Loader.construct_number)
for _tag, _pattern, _first in _PLAIN_SCALARS:
    _Loader.add_implicit_resolver(_tag, _pattern, _first)
    # In addition to the resolvers of YAML 1.1: text that either version would misread is quoted.
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)
_Dumper.add_representer(list, _represent_list)
