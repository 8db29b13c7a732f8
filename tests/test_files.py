"""Names with wildcards in them, of files and folders that are there."""

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
