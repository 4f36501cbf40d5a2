"""URLs of objects: `s3://bucket/key`, `gs://bucket/key`, `hf://datasets/owner/name/file`, `https://host/path`."""

from __future__ import annotations

import os
import posixpath
import re

SCHEMES = ("s3", "gs", "hf", "http", "https")
_URL = re.compile(rf"({'|'.join(SCHEMES)})://", re.IGNORECASE)

_SIGNED = re.compile(r"[?&](x-amz-|x-goog-|awsaccesskeyid|signature|sig=|token=)", re.IGNORECASE)  # keys may hold a "?"


class UrlError(ValueError):
    """A URL that is not used: it holds credentials, or leaves the folder that it belongs to."""


def is_url(path: os.PathLike[str] | str) -> bool:
    """Whether a path is the URL of an object."""
    return isinstance(path, str) and _URL.match(path) is not None


def is_writable_url(path: str) -> bool:
    """Whether a path is a URL of a store that can be written."""
    return is_url(path) and path.partition("://")[0].lower() in ("s3", "gs")


def split_url(url: str) -> tuple[str, str]:
    """(store, key) of a URL: `s3://bucket/a/b.tar` -> (`s3://bucket`, `a/b.tar`).

    Raises UrlError for a URL with a user name, a password, a query or a signature: these would be written to files.
    """
    scheme, _, rest = url.partition("://")
    host, _, key = rest.partition("/")
    if "@" in host or _SIGNED.search(url) or (scheme.lower() in ("http", "https") and "?" in url):
        raise UrlError(
            f"{scheme}://...: a URL must not hold a user name, a password or a query, because URLs are written to manifests "
            "and logs; give credentials in the environment (AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN)"
        )
    if not host:
        raise UrlError(f"{url}: names no bucket or host; expected for example s3://bucket/folder")
    return f"{scheme.lower()}://{host}", key


def join_url(folder: str, path: str) -> str:
    """The URL of a stored path, which is a URL itself or lies below `folder`. Raises UrlError for one that leaves it."""
    if is_url(path):
        return path
    below = posixpath.normpath(path)
    if path.startswith(("/", "\\")) or below == ".." or below.startswith("../") or re.match(r"[A-Za-z]:[\\/]", path):
        raise UrlError(f"{path!r} leaves the folder {folder}; a manifest at a URL names files below its folder, or URLs")
    return f"{folder.rstrip('/')}/{below}"


def parent_url(url: str) -> str:
    """The folder of an object."""
    return url.rpartition("/")[0]
