import itertools

import cv2
import matplotlib.image
import numpy as np
import pytest
import tensorflow as tf

from keras_videorel.data import contact_sheet, flow, inspection, records

GRAYS = np.interp(np.arange(11), range(0, 11, 2), (0, 60, 120, 180, 240, 255)).astype(np.uint8)


def data_set(folder, sizes, label="a", with_flow=False, frames=11):
    """Shards of gray clips, one of each size, and the clips; flow goes to the right."""
    folder.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / "train.tfrecord")) as writer:
        for number, size in enumerate(sizes):
            right = np.stack([np.full(size, 230), np.full(size, 127)], -1).astype(np.uint8)
            pictures = [np.full(size, level) for level in GRAYS[:frames]]
            serialized = records.encode(
                [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures],
                [i / 10 for i in range(frames)],
                0,
                label,
                f"{label * 9}{number}.avi",
                *size,
                frame_rate=10.0,
                flow=[flow.encode_jpeg(right, 95)] * frames if with_flow else None,
            )
            writer.write(serialized)
    (folder / "labels.txt").write_text(f"{label}\n")
    keys = {"flow": records.FLOW_ENCODED} if with_flow else {}
    patterns = {"train": ["train.tfrecord"]}
    manifest = inspection.foreign_manifest(folder, folder / "labels.txt", patterns, keys)
    return manifest, inspection.scan(manifest)[0]


def draw(tmp_path, manifest, clips, **options):
    path = tmp_path / "sheet.png"
    contact_sheet.save_sheet(manifest, clips, path, **options)
    return np.rint(255 * matplotlib.image.imread(path)[..., :3]).astype(int)


def box(sheet, gray):
    """Where a frame lies: its rows and columns, two arrays."""
    found = (np.abs(sheet - gray) <= 3).all(axis=-1)
    return [np.nonzero(found.mean(axis=axis) > 0.12)[0] for axis in (1, 0)]


@pytest.mark.parametrize("size", [(128, 170), (64, 340), (200, 100), (20, 32)])
def test_six_frames_lie_side_by_side(tmp_path, size):
    sheet = draw(tmp_path, *data_set(tmp_path / "data", [size]))
    boxes = [box(sheet, gray) for gray in (60, 120, 180, 240)]
    assert sheet.shape[1] == 700
    for (rows, columns), (_, following) in itertools.pairwise(boxes):
        assert columns.max() < following.min()
        assert len(columns) == pytest.approx(700 / 6, abs=8)
        assert len(rows) / len(columns) == pytest.approx(size[0] / size[1], 0.12)


def test_flow_lies_under_the_frames(tmp_path):
    sheet = draw(tmp_path, *data_set(tmp_path / "data", [(128, 170)], with_flow=True))
    red = np.nonzero((sheet[..., 0] > 240) & (sheet[..., 1] < 20) & (sheet[..., 2] < 20))
    gray = np.nonzero((np.abs(sheet - 120) <= 4).all(-1))
    assert len(red[0]) > 4 * len(gray[0]) > 0 and red[0].min() > gray[0].max()


@pytest.mark.parametrize("label", ["W" * 300, "$x_1$", "手を振る", "tab\tbed"])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_label_leaves_the_frames_in_place(tmp_path, label):
    plain = draw(tmp_path, *data_set(tmp_path / "data", [(64, 90)]))
    sheet = draw(tmp_path, *data_set(tmp_path / "data", [(64, 90)], label))
    assert sheet.shape == plain.shape
    for there, expected in zip(box(sheet, 120), box(plain, 120), strict=True):
        assert len(there) == pytest.approx(len(expected), abs=1)


def test_the_choice_is_a_function_of_the_seed(tmp_path):
    manifest, clips = data_set(tmp_path / "data", [(10, 16 + n) for n in range(8)], frames=2)
    first, again, other = (
        draw(tmp_path, manifest, clips, count=2, seed=seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)
    everything = draw(tmp_path, manifest, clips, count=8)
    assert np.array_equal(everything, draw(tmp_path, manifest, clips, count=99))
    assert everything.shape[1] == 1400


def test_bad_arguments(tmp_path, monkeypatch):
    manifest, clips = data_set(tmp_path / "data", [(16, 16)])
    with pytest.raises(ValueError, match="`count` must be an integer of at least 1"):
        contact_sheet.save_sheet(manifest, clips, tmp_path / "sheet.png", count=0)
    with pytest.raises(ValueError, match="`clips` must hold at least one"):
        contact_sheet.save_sheet(manifest, [], tmp_path / "sheet.png")
    monkeypatch.setattr(inspection, "pictures", lambda *_: ([b"no JPEG"], None))
    with pytest.raises(ValueError, match=r"record 0 of train.tfrecord \(aaaaaaaaa0.avi\)"):
        contact_sheet.save_sheet(manifest, clips, tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()
