"""The YAML a configuration is written in: safe, strict, and without YAML 1.1's surprises.

Everything about a text is limited, since it may be hostile: its length, its depth, and its length once aliases are expanded.
Plain values are read by the rules of YAML 1.2: `1e-4` is a number; `no`, `on`, `12:30`, `010` and dates are text. No
merging of mappings (`<<`), and a key stands in a mapping once.
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
_PLAIN = [  # what a plain scalar is: tag, pattern, first characters; text otherwise
    ("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("tag:yaml.org,2002:int", re.compile(r"^-?(?:0|[1-9][0-9]*)$"), list("-0123456789")),
    ("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789")),
]


MAX_BYTES = 1_000_000  # of a text; a recipe has some thousand
MAX_COST = 2_000_000  # of a text once its aliases are expanded: its characters, and NODE_COST for each value in it
NODE_COST = 50
MAX_DEPTH = 50


_TAGS = {"!", *(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map"))}


def read_yaml(content: bytes | str) -> Any:
    """Raises ValueError with one line that says what is wrong and, for a file's bytes, in which line."""
    if len(content) > MAX_BYTES:
        raise ValueError(f"not YAML that can be read: it is {len(content):,} bytes or more; at most {MAX_BYTES:,} are read")
    try:
        return yaml.load(content, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark and isinstance(content, bytes) else ""
        reason = f"{line}{error.problem or error.context}"
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
    except (KeyError, IndexError, AttributeError, TypeError, OverflowError):  # PyYAML, of a value such as `!!bool maybe`
        reason = "a value is not of the type that its tag (!!...) says"
    raise ValueError(f"not YAML that can be read: {reason}")


def write_yaml(data: Any) -> str:
    """Mappings in their order, lists of plain values on one line; any YAML reader, 1.1 or 1.2, gives it back."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML is set up by class attributes

    def __init__(self, content: bytes | str) -> None:
        super().__init__(content)
        self._depth, self._cost = 0, 0
        self._costs: dict[int, int] = {}  # of the nodes that are complete, by identity

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As PyYAML does, with limits: an alias costs as much as the node that it repeats."""
        event, before = self.peek_event(), self._cost
        mark: Any = event.start_mark
        if (tag := getattr(event, "tag", None)) is not None and tag not in _TAGS:
            raise yaml.composer.ComposerError(None, None, f"the tag {tag} is not read", mark)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested more than {MAX_DEPTH} deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._costs:
                problem = f"*{event.anchor} stands within the value that it repeats"
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
                problem = f"the key {key.value!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """PyYAML also reads numbers of base 60, in a time that grows with the square of their length."""
        text = str(self.construct_scalar(node))
        is_whole = node.tag.endswith(":int")
        if not re.fullmatch(r"[-+]?[0-9]{1,4300}", text) and (is_whole or not _FLOAT.match(text)):
            raise yaml.constructor.ConstructorError(None, None, "not a number that is read", node.start_mark)
        return int(text) if is_whole else self.construct_yaml_float(node)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_list(dumper: _Dumper, values: list[Any]) -> yaml.Node:
    inline = not any(isinstance(value, dict | list) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=inline)


for _tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
    _Loader.add_constructor(_tag, _Loader.construct_number)
for _tag, _pattern, _first in _PLAIN:
    _Loader.add_implicit_resolver(_tag, _pattern, _first)
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)  # beside YAML 1.1's: text that either would misread is quoted
_Dumper.add_representer(list, _represent_list)
