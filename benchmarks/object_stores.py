"""Range reads of one object by the libraries that can read object storage: `python -m benchmarks.object_stores s3://bucket/key`.

    python -m benchmarks.object_stores URL [--reads 5] [--bytes 500000] [--rounds 9] [--out FILE.json]

The object is written first, and must not exist. Credentials and endpoint come from the environment (AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL). Libraries that are not installed are left out. Each library reads in a way
that its documentation recommends for several ranges; the rounds alternate; all must return the same bytes.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlparse

from benchmarks.measure import add_out, describe_machine, markdown_table, spread_of, write_results
from worldmodel.process.arguments import whole_number

Read = Callable[[Sequence[int], int], list[bytes]]


def obstore_reader(bucket: str, key: str) -> Read:
    import obstore
    from obstore.store import S3Store

    store = S3Store(bucket, endpoint=endpoint(), client_options={"allow_http": True})

    def read(starts: Sequence[int], size: int) -> list[bytes]:
        return [bytes(part) for part in obstore.get_ranges(store, key, starts=starts, lengths=[size] * len(starts))]

    return read


def pyarrow_reader(bucket: str, key: str) -> Read:
    from pyarrow.fs import S3FileSystem

    files = S3FileSystem(endpoint_override=endpoint())
    pool = ThreadPoolExecutor(8)

    def one(start: int, size: int) -> bytes:
        with files.open_input_file(f"{bucket}/{key}") as file:
            return bytes(file.read_at(size, start))

    return lambda starts, size: list(pool.map(one, starts, [size] * len(starts)))


def s3fs_reader(bucket: str, key: str) -> Read:
    import s3fs

    files = s3fs.S3FileSystem(endpoint_url=endpoint())

    def read(starts: Sequence[int], size: int) -> list[bytes]:
        path = f"{bucket}/{key}"
        return list(files.cat_ranges([path] * len(starts), list(starts), [start + size for start in starts]))

    return read


READERS = {"obstore": obstore_reader, "pyarrow": pyarrow_reader, "s3fs": s3fs_reader}


def endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="an object that does not exist yet: s3://bucket/key")
    parser.add_argument("--reads", type=whole_number(1), default=5, help="ranges that are read at once")
    parser.add_argument("--bytes", type=whole_number(1), default=500_000, help="of a range")
    parser.add_argument("--rounds", type=whole_number(1), default=9)
    add_out(parser)
    args = parser.parse_args()
    import obstore
    from obstore.store import S3Store

    parsed = urlparse(args.url)
    bucket, key = parsed.netloc, parsed.path.lstrip("/")
    content = os.urandom(2 * args.reads * args.bytes)
    obstore.put(S3Store(bucket, endpoint=endpoint(), client_options={"allow_http": True}), key, content, mode="create")
    starts = [2 * args.bytes * number for number in range(args.reads)]
    expected = [content[start : start + args.bytes] for start in starts]
    readers = {name: make(bucket, key) for name, make in READERS.items() if importlib.util.find_spec(name)}
    times: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(args.rounds + 1):  # the first round opens connections
        for name, read in readers.items():
            began = time.perf_counter()
            found = read(starts, args.bytes)
            times[name].append(1e3 * (time.perf_counter() - began))
            if found != expected:
                raise SystemExit(f"{name} returned other bytes")
    machine = describe_machine(tuple(name for name in readers))
    rows = [[name, str(spread_of(values[1:])), f"{values[0]:.0f}"] for name, values in times.items()]
    print(f"{machine.line()}\n\n{markdown_table(('library', 'ms', 'first round, ms'), rows)}")
    write_results(args.out, machine, {"ms": times})


if __name__ == "__main__":
    main()
