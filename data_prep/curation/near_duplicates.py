"""Near-duplicates among videos, by perceptual hashes of several frames of each.

The hash of a frame is a difference hash (dHash): a bit says whether a cell of the picture is brighter
than its right neighbour. It survives another size, encoding and brightness, not a mirrored or cropped
picture.

Videos with equal hashes are always found, in time proportional to the number of hashes. Two others are
compared only if a hash of one matches a hash of the other and both share a quarter of their bits. They
always do if at most 3 bits differ; of random pairs with 4, 5 and 6 different bits 90, 74 and 58 % do.
Where that would be too many, less is compared, and `DuplicateGroups` says how much was left out:

- Hashes of which more than `hash_pairs.MAX_IN_BAND` share a quarter must share a second quarter, and
  where that is not enough a third one.
- Of videos that have one hash, or two that match, in more than `video_pairs.MAX_PRODUCT` pairs, each is
  compared with the shortest ones only.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_prep.curation.hash_pairs import HASH_BITS
from data_prep.curation.recipe import DuplicateConfig
from data_prep.curation.video_pairs import Groups, SimilarVideos, VideoHashes
from worldmodel.process.terminal import print_escaped

ROWS = COLUMNS = 8
assert ROWS * COLUMNS == HASH_BITS


class DuplicateGroups(list[int]):
    """The group of each video, as the index of the first video of its group.

    skipped_hashes: pairs of hashes that share a quarter of their bits and were not compared. skipped_videos: pairs of
    videos with matching hashes that were not compared, once for each match. Near-duplicates may be missing if these are
    not 0; videos with equal hashes are not.
    """

    skipped_hashes = 0
    skipped_videos = 0

    def note(self) -> str:
        """A sentence on what was skipped; empty if nothing was."""
        if not self.skipped_hashes and not self.skipped_videos:
            return ""
        return (
            f"{self.skipped_hashes:,} comparisons of hashes and at most {self.skipped_videos:,} of videos were skipped, as "
            "too many videos look alike: some near-duplicates may be missing; videos with equal hashes are all found"
        )


def frame_hash(grey: NDArray[np.uint8]) -> int:
    """The hash of a picture, 64 bits. grey: [H, W]."""
    small = Image.fromarray(grey).resize((COLUMNS + 1, ROWS), Image.Resampling.BOX)
    cells = np.asarray(small, np.int16)
    bits = (cells[:, 1:] > cells[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def group_duplicates(hashes: Sequence[Sequence[int]], config: DuplicateConfig) -> DuplicateGroups:
    """Group near-duplicates; those of near-duplicates are in one group. Prints a line if comparisons were skipped.

    hashes: of each video.
    """
    videos = VideoHashes.of(hashes)
    copies = videos.first_equals()
    groups = Groups(copies)
    similar = SimilarVideos(videos, copies != np.arange(len(copies)), config.max_bits, config.min_match)
    similar.join(groups)
    found = DuplicateGroups(groups.roots().tolist())
    found.skipped_hashes, found.skipped_videos = similar.skipped_hashes, similar.skipped_videos
    if found.note():
        print_escaped(found.note(), file=sys.stderr)
    return found


def match_share(one: Sequence[int], other: Sequence[int], max_bits: int) -> float:
    """The share of the hashes of the shorter video that have a match in the other."""
    short, long = sorted((list(dict.fromkeys(one)), list(dict.fromkeys(other))), key=len)
    if not short:
        return 0.0
    return sum(any((a ^ b).bit_count() <= max_bits for b in long) for a in short) / len(short)
