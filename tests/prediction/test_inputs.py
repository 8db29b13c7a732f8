import pytest

from keras_videorel.prediction.inputs import find_videos
from tests.videos import moving_square, write_video


def test_whatever_is_a_video_is_found(tmp_path):
    film = write_video(tmp_path / "film.avi", moving_square(3), codec="mpeg4").read_bytes()
    folder = tmp_path / "videos"
    for name in ("a.wmv", "deep/b.GIF", ".hidden/c.mp4", "deep/.d.mp4", "deep/Thumbs.db"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "film").write_bytes(film)
    (folder / "notes.txt").write_text("No film.\n")
    (folder / "deep/cover.jpg").touch()
    (tmp_path / "far").mkdir()
    (tmp_path / "far/e.ogv").touch()
    (folder / "linked").symlink_to(tmp_path / "far")
    (folder / "deep/up").symlink_to(folder)
    (folder / "deep/self").symlink_to(folder / "deep")
    left_out = []
    found = find_videos(folder, left_out)
    names = ["a.wmv", "deep/b.GIF", "film", "linked/e.ogv"]
    assert found == [str(folder / name) for name in names]
    assert [path for path, _ in left_out] == [
        str(folder / name) for name in ("deep/cover.jpg", "notes.txt")
    ]
    assert left_out[0][1] == "a picture, not a video"


def test_a_folder_without_videos_says_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("No film.\n")
    with pytest.raises(ValueError, match=r"a folder without videos \(.*notes.txt: cannot be"):
        find_videos(tmp_path)
