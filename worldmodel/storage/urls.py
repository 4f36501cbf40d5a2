"""URLs of objects: `s3://bucket/key`, `gs://bucket/key`, `hf://datasets/owner/name/file`, `https://host/path`.

A URL may end in the version of the object, `s3://bucket/a.mp4#etag=9b2cf535f27731c9`. Another version is then never read.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable
from urllib.parse import quote

from worldmodel.storage.secrets import holds_secret

SCHEMES = ("s3", "gs", "hf", "http", "https")
_URL = re.compile(rf"({'|'.join(SCHEMES)})://", re.IGNORECASE)

_VERSION = re.compile(r"#etag=([^/#]+)$")
_REFUSED = (
    "a URL must not hold a user name, a password or a query, because URLs are written to manifests and logs; give credentials "
    "in the environment (AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN)"
)


class UrlError(ValueError):
    """A URL that is not used: it holds credentials, or leaves the folder that it belongs to."""


def is_url(path: os.PathLike[str] | str) -> bool:
    """Whether a path is the URL of an object."""
    return isinstance(path, str) and _URL.match(path) is not None


def is_writable_url(path: str) -> bool:
    """Whether a path is a URL of a store that can be written."""
    return is_url(path) and path.partition("://")[0].lower() in ("s3", "gs")


def with_version(url: str, etag: str | None) -> str:
    """The URL of one version of an object. Without an ETag, or with one that does not mean equal bytes, it is `url`."""
    tag = _version_text(etag)
    return url if tag is None else f"{url}#etag={tag}"


def split_version(url: str) -> tuple[str, str | None]:
    """(URL, version) of the URL of one version of an object. The version of other URLs, and of paths, is None."""
    found = _VERSION.search(url) if is_url(url) else None
    return (url, None) if found is None else (url[: found.start()], found[1])


def is_version(etag: str | None, version: str) -> bool:
    """Whether an object with this ETag is the version that `split_version` found in a URL."""
    return _version_text(etag) == version


def _version_text(etag: str | None) -> str | None:
    strong = etag is not None and not etag.startswith("W/") and etag.strip('"')
    return quote(etag.strip('"'), safe="-") if etag is not None and strong else None


def split_url(url: str) -> tuple[str, str]:
    """(store, key) of a URL: `s3://bucket/a/b.tar` -> (`s3://bucket`, `a/b.tar`). A version at its end is left out.

    Raises UrlError for a URL with a user name, a password, a query or a signature: these would be written to files.
    """
    scheme, _, rest = split_version(url)[0].partition("://")
    host, _, key = rest.partition("/")
    if "@" in host or holds_secret(url) or (scheme.lower() in ("http", "https") and "?" in url):
        raise UrlError(f"{scheme}://...: {_REFUSED}")
    if not host:
        raise UrlError(f"{url}: names no bucket or host; expected for example s3://bucket/folder")
    return f"{scheme.lower()}://{host}", key


def refuse_secrets(texts: Iterable[str]) -> None:
    """Raise UrlError where a URL in one of these texts, such as the words of a command line, holds a secret."""
    for text in texts:
        if holds_secret(text):
            scheme = re.search(r"\w*$", text[: text.index("://")])
            raise UrlError(f"{scheme[0] if scheme else ''}://...: {_REFUSED}")


def join_url(folder: str, path: str) -> str:
    """The URL of a stored path, which is a URL itself or lies below `folder`. Raises UrlError for one that leaves it."""
    if is_url(path):
        return path
    below = posixpath.normpath(path)
    if path.startswith(("/", "\\")) or below == ".." or below.startswith("../") or re.match(r"[A-Za-z]:[\\/]", path):
        raise UrlError(f"{path!r} leaves the folder {folder}; a manifest at a URL names files below its folder, or URLs")
    return f"{folder.rstrip('/')}/{below}"


def stays_below(name: str) -> bool:
    """Whether the name of an object is a relative path that cannot leave its folder, on any system."""
    return not any(part in ("", ".", "..") or set(part) & set("\\:\0") for part in name.split("/"))


def parent_url(url: str) -> str:
    """The folder of an object."""
    return url.rpartition("/")[0]
