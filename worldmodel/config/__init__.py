"""Strict configuration: YAML files and dotted overrides become frozen pydantic models (subclasses of Config)."""

from worldmodel.config.config import (
    Config,
    ConfigError,
    dump_config,
    json_schema,
    load_config,
    parse_config,
    read_config_file,
    save_config,
)

__all__ = [
    "Config",
    "ConfigError",
    "dump_config",
    "json_schema",
    "load_config",
    "parse_config",
    "read_config_file",
    "save_config",
]
