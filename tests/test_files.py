"""Names with wildcards in them, of files and folders that are there."""

import pytest

from keras_videorel import files
from keras_videorel.prediction.inputs import find_videos


def test_a_name_that_looks_like_a_pattern(tmp_path):
    folder = tmp_path / "x[1]"
    folder.mkdir()
    for name in ("a[1].mp4", "a1.mp4", "b.mp4"):
        (folder / name).touch()
    assert files.matching(str(folder), "a[1].mp4") == ["a[1].mp4"]
    assert files.matching(str(folder), "a*.mp4") == ["a1.mp4", "a[1].mp4"]
    assert files.matching(str(tmp_path), "x[1]/?.mp4") == ["x[1]/b.mp4"]
    assert find_videos(f"{folder}/a[1].mp4") == [f"{folder}/a[1].mp4"]
    assert find_videos(f"{folder}/a?.mp4") == [f"{folder}/a1.mp4"]
    assert find_videos(f"{tmp_path}/x[[]1]/b.mp4") == [f"{folder}/b.mp4"]
    assert find_videos(f"{tmp_path}/**/b.mp4") == [f"{folder}/b.mp4"]


def test_a_link_to_itself_is_a_file(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    assert files.entries(str(tmp_path)) == (["folder"], ["loop.mp4"])


def test_a_path_to_write_is_text():
    files.check_text("output", "shards/müßig")
    with pytest.raises(
        ValueError, match=r"^`output` must be a path of UTF-8 text. Received: 'w\\ud"
    ):
        files.check_text("output", "w\udcff")
