import cv2
import matplotlib.image
import numpy as np
import pytest
import tensorflow as tf

from keras_videorel import text as lettering
from keras_videorel.data import contact_sheet, flow, inspection, records

GREYS = (0, 60, 120, 180, 240, 255)  # of the frames that are shown


def data_set(folder, sizes, labels=("a",), path="clip.avi", fields=False):
    """A layout and clips of gray frames, one of each size.

    Six of the eleven frames are shown: every second one.
    """
    folder.mkdir(exist_ok=True)
    right = np.stack([np.full(sizes[0], 230), np.full(sizes[0], 127)], -1).astype(np.uint8)
    with tf.io.TFRecordWriter(str(folder / "train.tfrecord")) as writer:
        for number, size in enumerate(sizes):
            levels = np.interp(np.arange(11), range(0, 11, 2), GREYS).astype(np.uint8)
            jpegs = [cv2.imencode(".jpg", np.full(size, level))[1].tobytes() for level in levels]
            writer.write(
                records.encode(
                    jpegs,
                    [i / 10 for i in range(11)],
                    number % len(labels),
                    labels[number % len(labels)],
                    path,
                    *size,
                    frame_rate=10.0,
                    flow=[flow.encode_jpeg(right, 95)] * 11 if fields else None,
                )
            )
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
    keys = {"flow": "FORWARD_FLOW/image/encoded"} if fields else {}
    layout = inspection.foreign_layout(
        str(folder), folder / "labels.txt", {"train": ["train.tfrecord"]}, keys
    )
    clips, _ = inspection.scan(layout)
    return layout, clips


def draw(tmp_path, layout, clips, **options):
    path = tmp_path / "sheet.png"
    contact_sheet.save_sheet(layout, clips, path, **options)
    return np.rint(255 * matplotlib.image.imread(path)[..., :3]).astype(int)


def test_frames_lie_side_by_side_as_they_are(tmp_path):
    page = draw(tmp_path, *data_set(tmp_path / "data", [(128, 170)]))
    assert page.shape[1] == 6 * 170 + 5 * 3 + 2 * 22
    top = page.shape[0] - 22 - 128
    for place, grey in enumerate(GREYS):
        left = 22 + 173 * place
        frame = page[top : top + 128, left : left + 170]
        assert np.abs(frame - grey).max() <= 2
        assert (page[top : top + 128, left + 170 : left + 173] == 255).all()


@pytest.mark.parametrize(
    ("size", "shown"),
    [((256, 144), (128, 72)), ((64, 340), (32, 170)), ((32, 20), (128, 80)), ((1, 900), (1, 170))],
)
def test_frames_keep_their_aspect(tmp_path, size, shown):
    page = draw(tmp_path, *data_set(tmp_path / "data", [size]))
    top = page.shape[0] - 22 - shown[0]
    left = 22 + shown[1] + 3
    assert np.abs(page[top:, left : left + shown[1]][: shown[0]] - GREYS[1]).max() <= 2
    assert (page[top - 1, left : left + shown[1]] == 255).all()
    assert (page[-22:] == 255).all()


def test_flow_lies_under_the_frames(tmp_path):
    page = draw(tmp_path, *data_set(tmp_path / "data", [(128, 170)], fields=True))
    top = page.shape[0] - 22 - 128
    red = page[top : top + 128, 22 : 22 + 170]
    assert (red[..., 0] > 240).all() and (red[..., 1:] < 20).all(), "all move right, as fast"
    assert np.abs(page[top - 3 - 128 : top - 3, 195 : 195 + 170] - GREYS[1]).max() <= 2


def test_rows_are_as_high_as_their_highest_clip(tmp_path):
    page = draw(
        tmp_path, *data_set(tmp_path / "data", [(32, 170), (32, 170), (128, 72), (32, 170)])
    )
    assert page.shape[1] == 2 * (6 * 173 - 3) + 3 * 22
    text = 2 * 18
    assert page.shape[0] == 22 + 18 + 22 + (text + 32 + 22) + (text + 128 + 22)


@pytest.mark.parametrize("label", ["W" * 300, "x", "$x_1$", "手を振る", "tab\tbed", "مرحبا"])
def test_texts_stay_in_their_place(tmp_path, label):
    """Whatever label and path are, facts beside and frames below them look the same."""
    plain = draw(tmp_path, *data_set(tmp_path / "data", [(64, 90)]))
    page = draw(
        tmp_path, *data_set(tmp_path / "data", [(64, 90)], [label], path=f"{label * 9}.avi")
    )
    label_line = slice(62, 62 + 18)
    assert (page[label_line] != plain[label_line]).any(), "the label is there"
    path_line = slice(62 + 18, 62 + 36)
    page[label_line, : 22 + 6 * 173 - 3 - 400] = plain[label_line, : 22 + 6 * 173 - 3 - 400]
    page[path_line, : 22 + 6 * 173 - 3] = plain[path_line, : 22 + 6 * 173 - 3]
    assert np.array_equal(page, plain)


def test_characters_without_a_font_are_numbers():
    families, available = lettering.fonts("aЯ\u1f980\t")
    assert families[0] == "DejaVu Sans" and set("aЯ0") <= available
    assert "\t" not in available


def test_a_function_of_the_seed(tmp_path):
    layout, clips = data_set(tmp_path / "data", [(10 + n, 16) for n in range(8)])
    first, again, other = (draw(tmp_path, layout, clips, count=2, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)
    assert np.array_equal(
        draw(tmp_path, layout, clips, count=8), draw(tmp_path, layout, clips, count=99)
    )


def test_bad_arguments(tmp_path, monkeypatch):
    layout, clips = data_set(tmp_path / "data", [(16, 16)])
    with pytest.raises(ValueError, match="`count` must be an integer of at least 1"):
        contact_sheet.save_sheet(layout, clips, tmp_path / "sheet.png", count=0)
    with pytest.raises(ValueError, match="`clips` must hold at least one"):
        contact_sheet.save_sheet(layout, [], tmp_path / "sheet.png")
    monkeypatch.setattr(inspection, "read_pictures", lambda *_: ([b"no JPEG"], None))
    with pytest.raises(ValueError, match=r"record 0 of train.tfrecord \(clip.avi\)"):
        contact_sheet.save_sheet(layout, clips, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()
