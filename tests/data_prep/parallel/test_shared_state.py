"""A node that does not see the files of the driver, or has other versions, is named."""

import dataclasses

from data_prep.parallel.shared_state import SOURCE, shared_state


def test_a_node_that_sees_the_same_files_has_no_problem(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"video")
    with shared_state([tmp_path / "a.mp4", tmp_path, tmp_path / "gone.mp4", "s3://bucket/b.mp4"], tmp_path / "new") as state:
        assert [path for path, _ in state.inputs] == [str(tmp_path / "a.mp4"), str(tmp_path)]
        assert state.problem(state.report()) is None
        assert len(list(tmp_path.iterdir())) == 2  # the output folder is recognised by a file above it
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_file_or_an_output_folder_that_a_node_does_not_see_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.parallel.shared_state._WAIT_S", 0.0)
    (tmp_path / "a.mp4").write_bytes(b"video")
    with shared_state([tmp_path / "a.mp4"], tmp_path) as state:
        elsewhere = dataclasses.replace(state, probe=(str(tmp_path / "gone" / "probe"), "content"))
        assert elsewhere.report().unseen == str(tmp_path / "gone")
        (tmp_path / "a.mp4").write_bytes(b"another one")
        report = state.report()
        assert f"does not see {tmp_path / 'a.mp4'}" in state.problem(report)


def test_other_versions_are_named():
    with shared_state([], None) as state:
        report = state.report()
        for name, words in (("numpy", "numpy 1.0"), (SOURCE, "another version of this project")):
            other = dataclasses.replace(report, versions={**report.versions, name: "1.0"})
            assert words in state.problem(other)
