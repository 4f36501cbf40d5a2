"""The drawn films obey their law, and are a function of the seed alone."""

import numpy as np

from data_prep.__main__ import main
from data_prep.drawn import GRAVITY_M_S2, Look, draw, fly
from worldmodel.manifest import Manifest
from worldmodel.video import read_frames


def synthesize(out, *options):
    command = ["synthesize", str(out), "--train", "10", "--size-px", "32", "--frames", "8", *options]
    assert main(command) == 0
    manifest = Manifest.open(out / "train.parquet")
    return [manifest.clip(row) for row in range(len(manifest))]


def test_a_ball_in_free_flight_falls_as_a_parabola():
    look = Look(size_px=32, frames=6, fps=12.0, seed=0)
    path_m = fly(np.array([[0.5, 0.2]]), np.array([[0.3, -0.1]]), np.array([0.1]), look)[:, 0]
    time_s = np.arange(6) / 12
    np.testing.assert_allclose(path_m[:, 0], 0.5 + 0.3 * time_s, atol=1e-12)
    np.testing.assert_allclose(path_m[:, 1], 0.2 - 0.1 * time_s + GRAVITY_M_S2 * time_s**2 / 2, atol=1e-12)


def test_no_ball_leaves_the_picture():
    random, look = np.random.default_rng(0), Look(size_px=32, frames=200, fps=12.0, seed=0)
    path_m = fly(random.uniform(0.2, 0.8, (9, 2)), random.uniform(-2, 2, (9, 2)), np.full(9, 0.1), look)
    assert path_m.min() >= 0.1
    assert path_m.max() <= 0.9


def test_films_are_written_losslessly_and_split(tmp_path):
    films = synthesize(tmp_path, "--workers", "1")
    assert [film.split for film in films] == ["train"] * 9 + ["val"]
    look = Look(size_px=32, frames=8, fps=12.0, seed=0)
    for number in (0, 9):
        drawn = draw(np.random.default_rng([0, number]), look)
        np.testing.assert_array_equal(read_frames(films[number].path, indices=range(8)), drawn)
        assert drawn[0].std() > 5
        assert not np.array_equal(drawn[0], drawn[-1])


def test_the_same_films_whatever_the_workers_and_however_often_begun(tmp_path):
    one = [film.content_hash for film in synthesize(tmp_path / "one", "--workers", "1")]
    two = synthesize(tmp_path / "two", "--workers", "2")
    for number in (2, 5):
        (tmp_path / "two" / two[number].path).unlink()
    again = [film.content_hash for film in synthesize(tmp_path / "two", "--workers", "1")]
    assert one == again == [film.content_hash for film in two]
    assert one != [film.content_hash for film in synthesize(tmp_path / "one", "--workers", "1", "--seed", "1")]
    assert len(set(one)) == 10
