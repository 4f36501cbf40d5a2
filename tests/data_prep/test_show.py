"""Contact sheets."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from data_prep.__main__ import main
from data_prep.physics.contact_sheets import LINE_PX, MARGIN_PX, SheetRow, contact_sheet
from worldmodel.manifest import Manifest


def test_a_sheet_shows_every_second_frame_enlarged_and_marks_the_impossible():
    frames = np.zeros((6, 8, 8, 3), np.uint8)
    frames[2] = (10, 200, 30)
    picture = np.asarray(contact_sheet([SheetRow(frames, "words", marks=(3,))], every=2, scale=2))
    assert picture.shape == (16 + LINE_PX, MARGIN_PX + 3 * (16 + LINE_PX), 3)
    left = MARGIN_PX + 16 + LINE_PX
    assert (picture[8, left + 8] == (10, 200, 30)).all()
    assert (picture[0, left + 8] == (255, 0, 0)).all()  # frame 3 is represented by frame 2
    assert (picture[8, MARGIN_PX + 8] == 0).all()


@pytest.mark.timeout(120)
def test_videos_of_the_physics_world_are_drawn(tmp_path, capsys):
    videos = tmp_path / "videos"
    common = ["--size-px", "32", "--workers", "1"]
    suite = ["--suite", "nano", "--properties", "shape", "--quadruplets", "1"]
    assert main(["synthesize", str(videos), "--train", "3", *suite, *common]) == 0
    assert main(["show", str(videos / "train.parquet"), "--out", str(tmp_path / "train.png")]) == 0
    assert Image.open(tmp_path / "train.png").height > 3 * 32
    quad = ["--quad", "shape-occluded-test-0000", "--out", str(tmp_path / "quad.png")]
    assert main(["show", str(videos / "quads.parquet"), *quad]) == 0
    assert Image.open(tmp_path / "quad.png").height == 4 * (32 + LINE_PX)
    assert main(["show", str(videos / "quads.parquet"), "--out", str(tmp_path / "sheets")]) == 0
    assert (tmp_path / "sheets" / "shape.png").is_file()
    capsys.readouterr()
    assert main(["show", str(videos / "quads.parquet"), "--quad", "nothing", "--out", "x.png"]) == 1
    assert "no quadruplet nothing" in capsys.readouterr().err
    assert main(["show", str(videos / "train.parquet"), "--clip", "zzz", "--out", "x.png"]) == 1
    some = ", ".join(Manifest.open(videos / "train.parquet").column("clip_id"))
    assert f"no clip zzz; its clip_ids are {some}, ..." in capsys.readouterr().err
