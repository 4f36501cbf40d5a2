"""Write the packet index of a manifest beside it: M.parquet.packets.

It says where the packets of each video lie. Training finds it there and decodes windows without
opening the files; the frames are the same. Videos for which that is not safe are left out and read
as before. An entry is valid while size and time of the last change of its file stay the same: give
the command again after files have changed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from data_prep.errors import PrepError
from data_prep.packet_indexing import index_packets
from worldmodel.files.folder_lock import lock_file
from worldmodel.files.outputs import GIVE_ANOTHER_OUT
from worldmodel.process.arguments import positive_number, whole_number
from worldmodel.process.cores import usable_cores
from worldmodel.process.terminal import print_escaped
from worldmodel.storage.urls import is_url
from worldmodel.video.packet_index.index_file import packet_index_path

HELP = "write an index of the packets of a manifest's videos, so that training reads them without opening them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", metavar="M.parquet", help="the manifest; the index is written beside it")
    parser.add_argument(
        "--workers", type=whole_number(1), default=usable_cores(), help="worker processes (default: one per core)"
    )
    parser.add_argument(
        "--timeout-s", type=positive_number("seconds"), default=60.0, help="leave out a file that takes longer (default 60)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Raises PrepError for a manifest at a URL, ManifestError, and OutputError if the index cannot be
    written.
    """
    if is_url(args.manifest):
        raise PrepError(f"{args.manifest}: a packet index is made for files, not for objects of a store")
    manifest = Path(args.manifest).absolute()
    if not manifest.is_file():
        raise PrepError(f"{manifest}: no such manifest")
    with lock_file(packet_index_path(manifest), GIVE_ANOTHER_OUT):
        print_escaped("\n".join(index_packets(manifest, args.workers, args.timeout_s)))
    return 0
