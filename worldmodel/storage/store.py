"""Requests to object stores through obstore: versions and ranges, with retries and back-off."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from worldmodel.storage.errors import StorageError, short_reason
from worldmodel.storage.urls import is_version, split_url, split_version

ATTEMPTS = 5
FIRST_DELAY_S = 0.2  # between two attempts; each one is twice to four times as long as the one before
TIMEOUT_S = 20.0  # of one read, with its answer; all attempts together stay below data.worker_timeout_s
UPLOAD_TIMEOUT_S = 60.0  # of one request that writes: of an object, or of a part of a large one
PART_RETRIES = 5  # of one part, by the client: else a single fault would begin a large upload again
CONNECT_TIMEOUT_S = 10.0
_FORBIDDEN = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "RequestTimeTooSkewed")  # S3 answers these with HTTP 400

Result = TypeVar("Result")
_last_read: dict[str, str] = {}  # store -> URL of the object that was read last, by this process


@dataclass(frozen=True)
class ObjectVersion:
    """What a URL names now. `version` is the ETag or, without one, the time of the last change."""

    url: str
    size: int
    version: str
    etag: str | None


@lru_cache(maxsize=1 << 16)
def version_of(url: str) -> ObjectVersion:
    """The version of an object, asked once per process, so that a later change is noticed. Raises StorageError."""
    return latest_version(url)


def latest_version(url: str) -> ObjectVersion:
    """The version of an object as it is now. Raises StorageError, also where the URL names another version."""
    meta = retried(url, lambda store, key: obstore().head(store, key))
    etag, wanted = meta["e_tag"], split_version(url)[1]
    if wanted is not None and not is_version(etag, wanted):
        detail = f"the object was changed since the manifest was written (its ETag is {etag} now); make the manifest again"
        raise StorageError(url, detail, store=split_url(url)[0], unreachable=False, changed=True)
    return ObjectVersion(url, int(meta["size"]), etag or str(meta["last_modified"]), etag)


def exists(url: str) -> bool:
    """Whether there is an object at a URL now. Raises StorageError."""
    try:
        latest_version(url)
    except StorageError as error:
        if error.missing:
            return False
        raise
    return True


def read_range(found: ObjectVersion, start: int, stop: int) -> bytes:
    """The bytes [start, stop) of this version of an object. Raises StorageError, also where the object was changed since."""
    options: dict[str, Any] = {"range": (start, stop)}
    if found.etag and not found.etag.startswith("W/"):
        options["if_match"] = found.etag

    def get(store: Any, key: str) -> bytes:
        answer = obstore().get(store, key, options=options)
        data = bytes(answer.bytes())
        now = answer.meta["e_tag"] or str(answer.meta["last_modified"])
        if now != found.version or int(answer.meta["size"]) != found.size:
            raise _ChangedError
        if len(data) != stop - start:
            raise ConnectionError(f"{len(data)} of {stop - start} bytes arrived")
        return data

    data = retried(found.url, get)
    _last_read[split_url(found.url)[0]] = found.url
    return data


class _ChangedError(Exception):
    """The object is another one than when its version was asked."""


def retried(url: str, request: Callable[[Any, str], Result], writes: bool = False) -> Result:
    """Make a request, again after faults that may pass. request: a function of the client and the key of the object.

    writes: it writes, removes or lists objects. Raises StorageError.
    """
    store_url, key = split_url(url)
    key = _hub_key(store_url, key)
    errors = obstore().exceptions
    delay_s = FIRST_DELAY_S
    for attempt in range(ATTEMPTS):
        try:
            return request(_store(store_url, *((UPLOAD_TIMEOUT_S, PART_RETRIES) if writes else (TIMEOUT_S, 0))), key)
        except FileNotFoundError:
            detail = "no such object; was it moved or deleted?"
            raise StorageError(url, detail, store=store_url, unreachable=False, missing=True) from None
        except (_ChangedError, errors.PreconditionError):
            detail = "the object was changed while it was in use; write new data to a new place, and start again"
            raise StorageError(url, detail, store=store_url, unreachable=False, changed=True) from None
        except (errors.PermissionDeniedError, errors.UnauthenticatedError) as error:
            raise _forbidden(url, store_url, error) from None
        except (errors.BaseError, ConnectionError) as error:
            reason = str(error) if isinstance(error, ConnectionError) else short_reason(error)
            if any(code in reason for code in _FORBIDDEN):
                raise _forbidden(url, store_url, error) from None
            if "Error parsing Path" in reason:
                detail = f"{reason}; the library of URLs cannot name such an object: rename it"
                raise StorageError(url, detail, store=store_url, unreachable=False) from None
        if attempt < ATTEMPTS - 1:
            time.sleep(delay_s * random.uniform(0.75, 1.25))  # workers that failed together do not retry together
            delay_s *= 3
    detail = f"{reason}, in {ATTEMPTS} attempts"
    raise StorageError(url, detail, store=store_url, unreachable=not _another_answers(store_url, url))


def _forbidden(url: str, store_url: str, error: BaseException) -> StorageError:
    detail = f"the store refuses access ({short_reason(error)}); are the credentials in the environment valid and not expired?"
    return StorageError(url, detail, store=store_url, unreachable=not _another_answers(store_url, url))


def _another_answers(store_url: str, url: str) -> bool:
    """Whether another object of the store, read before by this process, can still be reached."""
    other = _last_read.get(store_url)
    if other is None or other == url:
        return False
    try:
        obstore().head(_store(store_url, TIMEOUT_S, 0), _hub_key(*split_url(other)))
    except Exception:
        return False
    return True


def _hub_key(store_url: str, key: str) -> str:
    """The path of an object at its host. Of `hf://datasets/owner/name/file` it is `datasets/owner/name/resolve/main/file`."""
    if not store_url.startswith("hf://"):
        return key
    whole = f"{store_url.removeprefix('hf://')}/{key}".split("/")
    parts = 3 if whole[0] in ("datasets", "spaces") else 2
    return "/".join([*whole[:parts], "resolve", "main", *whole[parts:]])


@lru_cache(maxsize=64)
def _store(store_url: str, timeout_s: float, retries: int) -> Any:
    """The client of a bucket or host. Credentials come from the environment and stay in this process.

    timeout_s: of one request, with its answer. retries: of one request, by the client itself.
    """
    library = obstore()
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
    plain = store_url.startswith("http://") or (store_url.startswith("s3://") and endpoint.startswith("http://"))
    client: dict[str, Any] = {"timeout": f"{timeout_s:g}s", "connect_timeout": f"{CONNECT_TIMEOUT_S:g}s", "allow_http": plain}
    if store_url.startswith("hf://"):
        hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        if token := os.environ.get("HF_TOKEN"):
            client["default_headers"] = {"Authorization": f"Bearer {token}"}
        client["allow_http"] = hub.startswith("http://")
        return library.store.HTTPStore(hub, client_options=client, retry_config={"max_retries": retries})
    return library.store.from_url(store_url, client_options=client, retry_config={"max_retries": retries})


def obstore() -> Any:
    """The library obstore. Raises StorageError if it is not installed."""
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError:
        advice = 'URLs need it: pip install "obstore>=0.11", or pip install -e ".[cloud]" in this project'
        raise StorageError("obstore", advice, store="obstore", unreachable=False) from None
    return obstore
