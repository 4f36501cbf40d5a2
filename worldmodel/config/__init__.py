"""Strict configuration: YAML and dotted overrides into frozen pydantic trees. A subclass of Config is a part of a recipe."""

from worldmodel.config.tree import Config, ConfigError, dump, load, parse, read, save, schema

__all__ = ["Config", "ConfigError", "dump", "load", "parse", "read", "save", "schema"]
