"""The files of a data set whose lists name them without a folder: found by the stem of their names."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from data_prep.sources import folder
from data_prep.sources.item import Item, Segment
from data_prep.sources.skipped import SkippedFiles


class ListedFiles:
    """All video files and tar members below a folder, by stem: a list says 12, the file is DIR/videos/12.webm.

    Folders of frames are left out, because they do not say how many frames a second has.
    """

    def __init__(self, root: Path, skipped: SkippedFiles) -> None:
        self.problems: list[Item] = []  # files that cannot be searched, such as compressed tars
        self._root, self._skipped = root, skipped
        self._places: dict[str, tuple[str, str | None]] = {}
        self._listed: set[str] = set()
        for item in folder.find(root, skipped):
            name = PurePosixPath(item.member or os.path.basename(item.path))
            if item.problem is not None:
                self.problems.append(item)
            elif name.suffix.lower() not in folder.VIDEOS:
                skipped.add_remark("folders of frames, which these lists do not use", item.path)
            elif name.stem in self._places:
                skipped.add_remark("files with the name of an earlier one", item.name)
            else:
                self._places[name.stem] = item.path, item.member

    def item(
        self,
        stem: str,
        where: str,
        *,
        label: str | None = None,
        split: str | None = None,
        segments: tuple[Segment, ...] = (),
    ) -> Item | None:
        """The item of a listed video, with a problem if there is no such file. None if it was listed before.

        where: list and line, for messages.
        """
        if stem in self._listed:
            self._skipped.add_remark("rows that list a video again", where)
            return None
        self._listed.add(stem)
        place = self._places.get(stem)
        if place is None:
            detail = f"{where} lists it, and no video file of this name is in {self._root} or below it"
            return Item(str(self._root / stem), label=label, problem="missing file", detail=detail, split=split)
        return Item(*place, label=label, split=split, segments=segments)

    def report_unlisted(self) -> None:
        """Count the files that no list names."""
        for stem, (path, member) in self._places.items():
            if stem not in self._listed:
                self._skipped.add_remark("files that no list names", Item(path, member).name)
