"""Secrets in URLs: a user name or password before the host, and tokens and signatures in the query.

A URL with a secret is refused (`split_url`), and what is recorded of a command line has none (`recorded_command`).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator

HIDDEN = "***"
_SCHEME = r"\b[a-z][a-z0-9+.-]*://"
_USER = re.compile(rf"({_SCHEME})[^/\s@]*@", re.IGNORECASE)  # user@host, user:password@host
_PASSWORD = re.compile(rf"({_SCHEME})[^/\s@:\[]+:(?!\d*(?:[/?#\s]|$))[^\s@]*@", re.IGNORECASE)  # that holds a slash
_NAMES = "signature|sig|token|secret|password|passwd|credential|api_?key|awsaccesskeyid|googleaccessid"
_SIGNED = re.compile(rf"([?&#](?:x-amz-[\w-]*|x-goog-[\w-]*|(?:[\w.-]*[_.-])?(?:{_NAMES})))=[^&]*", re.IGNORECASE)
_QUERY = re.compile(r"(\bhttps?://[^?]*\?).+", re.IGNORECASE | re.DOTALL)  # keys of s3:// and gs:// may hold a "?"
_SECRETS = ((_USER, rf"\1{HIDDEN}@"), (_PASSWORD, rf"\1{HIDDEN}@"), (_QUERY, rf"\1{HIDDEN}"), (_SIGNED, rf"\1={HIDDEN}"))


def holds_secret(text: str) -> bool:
    """Whether a URL in a text holds a user name, a password, a token or a signature, or is of the web and has a query."""
    return "://" in text and any(pattern.search(text) for pattern, _ in _SECRETS)


def without_secrets(text: str) -> str:
    """A text with `***` for each secret of a URL in it."""
    if "://" in text:
        for pattern, hidden in _SECRETS:
            text = pattern.sub(hidden, text)
    return text


def recorded_command(words: Iterable[str]) -> str:
    """A command line as it may be written to a lock, a log or a result."""
    return shlex.join(without_secrets(word) for word in words)


def texts_of(node: object, path: str = "") -> Iterator[tuple[str, str]]:
    """(name, text) of all texts in nested dicts and lists: {"a": {"b": ["x"]}} -> ("a.b[0]", "x")."""
    if isinstance(node, str):
        yield path, node
    elif isinstance(node, dict):
        for key, child in node.items():
            yield from texts_of(child, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list | tuple):
        for number, child in enumerate(node):
            yield from texts_of(child, f"{path}[{number}]")
