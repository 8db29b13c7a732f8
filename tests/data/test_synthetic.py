import csv
import itertools
import json
import math
from pathlib import Path

import av
import numpy as np
import pytest

from keras_videorel.data import rendering, synthetic
from keras_videorel.data.synthetic import (
    CLASSES,
    FRAMES,
    ORDER_PAIRS,
    PAIRS,
    SIDE,
    draw_layout,
    trajectory,
)

REVERSED = PAIRS[:-3]


def _cases(count, seed):
    rng = np.random.default_rng(seed)
    return [(draw_layout(rng), rng.uniform(1, 1.72)) for _ in range(count)]


def _relative(path):
    return path.square - path.disc


def _distance(path):
    return np.linalg.norm(_relative(path), axis=-1)


def _equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# --- What single frames and single objects tell -----------------------------------------------


def _states(count, seed, pick, motion=False):
    """Ground truth of a frame (and its change to the next) of clips of all classes."""
    rng = np.random.default_rng(seed)
    rows, labels = [], []
    for number, label in enumerate(CLASSES):
        for layout, speed in _cases(count, rng):
            path = trajectory(label, layout, speed)
            at = pick(rng)
            relative = _relative(path)[at]
            angles = [*path.disc[at] / SIDE * 2 * np.pi, *path.square[at] / SIDE * 2 * np.pi]
            angles += [math.atan2(relative[1], relative[0])]
            angles += [path.disc_angle[at], path.square_angle[at]]
            features = [np.linalg.norm(relative) / 8, *np.cos(angles), *np.sin(angles)]
            if motion:
                change = [values[at + 1] - values[at] for values in path]
                features += [*change[0], *change[1], 10 * change[2], 10 * change[3]]
            rows.append(features)
            labels.append(number)
    return np.array(rows), np.array(labels)


def _accuracy(pick, motion=False):
    """Held-out accuracy of ridge regression on random Fourier features."""
    train, train_labels = _states(400, 1, pick, motion)
    test, test_labels = _states(300, 2, pick, motion)
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(train.shape[1], 500)) * rng.choice([0.3, 0.8], 500)
    phases = rng.uniform(0, 2 * np.pi, 500)
    train, test = (np.hstack([x, np.cos(x @ weights + phases)]) for x in (train, test))
    mean = train.mean(0)
    train, test = train - mean, test - mean
    gram = train.T @ train + 10 * np.eye(train.shape[1])
    scores = test @ np.linalg.solve(gram, train.T @ np.eye(len(CLASSES))[train_labels])
    return np.mean(scores.argmax(1) == test_labels)


def test_a_random_frame_does_not_tell_the_class():
    accuracy = _accuracy(lambda rng: rng.integers(FRAMES))
    chance = 1 / len(CLASSES)
    error = math.sqrt(chance * (1 - chance) / (300 * len(CLASSES)))
    assert accuracy < chance + 3.5 * error


def test_the_classifier_finds_what_there_is():
    # The first frame of a sweep is at an end of the range of distances.
    assert _accuracy(lambda rng: 0) > 0.1
    assert _accuracy(lambda rng: rng.integers(FRAMES - 1), motion=True) > 0.4


@pytest.mark.parametrize("label", CLASSES)
def test_the_distance_at_a_random_frame_has_one_distribution(label):
    count = 4000
    rng = np.random.default_rng(5)
    found = np.sort(
        [
            _distance(trajectory(label, layout, speed))[rng.integers(FRAMES)]
            for layout, speed in _cases(count, 4)
        ]
    )
    expected = synthetic.distance_quantile((np.arange(count) + 0.5) / count)
    cumulative = np.searchsorted(expected, found) / count
    gap = abs(cumulative - (np.arange(count) + 0.5) / count).max()
    assert gap < 1.95 / math.sqrt(count)  # Kolmogorov-Smirnov, significance 0.001


@pytest.mark.parametrize("label", CLASSES)
def test_the_objects_keep_apart_and_below_half_the_torus(label):
    apart = rendering.DISC_RADIUS[1] + rendering.SQUARE_SIDE[1] / math.sqrt(2)
    for layout, speed in _cases(100, 6):
        distance = _distance(trajectory(label, layout, speed))
        assert distance.min() >= synthetic.MIN_DISTANCE - 1e-9
        assert distance.max() <= synthetic.MAX_DISTANCE + 1e-9
    assert apart + 0.5 < synthetic.MIN_DISTANCE  # half a pixel of soft edge
    assert synthetic.MAX_DISTANCE < SIDE / 2


@pytest.mark.parametrize(("first", "second"), REVERSED)
def test_the_second_member_of_a_pair_is_the_first_backwards(first, second):
    for layout, speed in _cases(20, 7):
        one, other = trajectory(first, layout, speed), trajectory(second, layout, speed)
        assert _equal([values[::-1] for values in one], other)
        assert not _equal(one, other)


@pytest.mark.parametrize("pair", ORDER_PAIRS)
def test_the_members_of_an_order_pair_share_their_halves(pair):
    half = FRAMES // 2
    for layout, speed in _cases(20, 8):
        one, other = (trajectory(label, layout, speed) for label in pair)
        assert _equal([values[:half] for values in one], [values[half:] for values in other])
        assert _equal([values[half:] for values in one], [values[:half] for values in other])
        assert not _equal(one, other)


def test_each_object_alone_spins_alike_in_turn_and_mirror():
    for layout, speed in _cases(20, 9):
        turn, back = trajectory("turn_cw", layout, speed), trajectory("turn_ccw", layout, speed)
        mirror = trajectory("mirror_cw", layout, speed)
        assert _equal((mirror.disc, mirror.disc_angle), (turn.disc, turn.disc_angle))
        assert _equal((mirror.square, mirror.square_angle), (back.square, back.square_angle))


def test_each_object_alone_moves_alike_whether_it_leads_or_follows():
    # The phase is uniform, so paths that differ by a phase are equally probable.
    for layout, speed in _cases(20, 10):
        path = trajectory("square_follows_disc", layout, speed)
        other = trajectory("disc_follows_square", layout, speed)
        shifted = layout._replace(phase=1 + synthetic.MOVE - layout.phase)
        np.testing.assert_allclose(
            trajectory("square_follows_disc", shifted, speed).disc, other.disc, atol=1e-9
        )
        shifted = layout._replace(phase=layout.phase + synthetic.MOVE)
        follower = trajectory("square_follows_disc", shifted, speed).square
        np.testing.assert_allclose(follower - follower[0], path.disc - path.disc[0], atol=1e-9)


# --- Classes look like their names ------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "direction"),
    [("left", (-1, 0)), ("right", (1, 0)), ("up", (0, -1)), ("down", (0, 1))],
)
def test_translations(label, direction):
    for layout, speed in _cases(5, 11):
        path = trajectory(label, layout, speed)
        step = synthetic.TRANSLATION * speed * np.array(direction)
        for values in (path.disc, path.square):
            np.testing.assert_allclose(np.diff(values, axis=0), [step] * (FRAMES - 1), atol=1e-9)
        assert np.ptp(path.disc_angle) == np.ptp(path.square_angle) == 0


@pytest.mark.parametrize(
    ("label", "direction"),
    [
        ("left_then_right", (-1, 0)),
        ("right_then_left", (1, 0)),
        ("up_then_down", (0, -1)),
        ("down_then_up", (0, 1)),
    ],
)
def test_translations_there_and_back(label, direction):
    half = FRAMES // 2
    for layout, speed in _cases(5, 11):
        path = trajectory(label, layout, speed)
        step = synthetic.TRANSLATION * speed * np.array(direction)
        steps = [step] * (half - 1) + [0 * step] + [-step] * (half - 1)
        for values in (path.disc, path.square):
            np.testing.assert_allclose(np.diff(values, axis=0), steps, atol=1e-9)


@pytest.mark.parametrize(
    ("label", "disc", "square"),
    [("turn_cw", 1, 1), ("turn_ccw", -1, -1), ("mirror_cw", 1, -1), ("mirror_ccw", -1, 1)],
)
def test_spins(label, disc, square):
    for layout, speed in _cases(5, 12):
        path = trajectory(label, layout, speed)
        np.testing.assert_allclose(np.diff(path.disc_angle), disc * synthetic.SPIN * speed)
        np.testing.assert_allclose(np.diff(path.square_angle), square * synthetic.SPIN * speed)
        assert np.ptp(path.disc, axis=0).max() == np.ptp(path.square, axis=0).max() == 0


@pytest.mark.parametrize(("label", "sense"), [("circle_cw", 1), ("circle_ccw", -1)])
def test_orbits(label, sense):
    for layout, speed in _cases(5, 13):
        path = trajectory(label, layout, speed)
        arm = _relative(path)
        # With y down, a positive cross product is a clockwise turn on the screen.
        cross = arm[:-1, 0] * arm[1:, 1] - arm[:-1, 1] * arm[1:, 0]
        np.testing.assert_allclose(
            np.arcsin(cross / _distance(path)[0] ** 2), sense * synthetic.ORBIT * speed
        )
        np.testing.assert_allclose(np.ptp(path.disc + path.square, axis=0), 0, atol=1e-9)
        assert np.ptp(path.disc_angle) == np.ptp(path.square_angle) == 0


@pytest.mark.parametrize(
    ("label", "signs"),
    [
        ("approach", [-1] * 59),
        ("part", [1] * 59),
        ("approach_then_part", [-1] * 29 + [0] + [1] * 29),
        ("part_then_approach", [1] * 29 + [0] + [-1] * 29),
    ],
)
def test_sweeps(label, signs):
    for layout, speed in _cases(5, 14):
        path = trajectory(label, layout, speed)
        distance = _distance(path)
        change = np.diff(distance)
        assert np.array_equal(np.sign(np.where(abs(change) < 1e-9, 0, change)), signs)
        # The first and the last frame lie in the outermost 1/30 of the distribution.
        low, high = synthetic.distance_quantile([0.04, 0.96])
        assert distance.min() < low and distance.max() > high
        # No jump, neither where the halves meet.
        assert np.linalg.norm(np.diff(path.disc, axis=0), axis=-1).max() < 2


@pytest.mark.parametrize(
    ("label", "leader", "follower"),
    [("square_follows_disc", "disc", "square"), ("disc_follows_square", "square", "disc")],
)
def test_imitations(label, leader, follower):
    for layout, speed in _cases(20, 15):
        path = trajectory(label, layout, speed)
        heading = [math.cos(layout.heading), math.sin(layout.heading)]
        lead, follow = (
            np.diff(getattr(path, name), axis=0) @ heading for name in (leader, follower)
        )
        delay = round(synthetic.CYCLE * synthetic.MOVE / speed)
        after = lead[:-delay] @ follow[delay:]
        before = lead[delay:] @ follow[:-delay]
        assert after > 10 * max(before, 0) and after > 1
        # Within a cycle both have a pause, after the follower and not between the two.
        still = np.convolve((abs(lead) + abs(follow)) < 1e-9, np.ones(4), "valid")
        assert still.max() == 4


def test_trajectory_refuses_bad_arguments():
    layout = _cases(1, 0)[0][0]
    with pytest.raises(ValueError, match=r"`label` must be one of left.*Received: 'sideways'"):
        trajectory("sideways", layout, 1.0)
    with pytest.raises(ValueError, match=r"`speed` .*Received: 0"):
        trajectory("left", layout, 0.0)
    with pytest.raises(ValueError, match=r"`frames` must be even.*Received: 5"):
        trajectory("left", layout, 1.0, frames=5)


# --- Drawing ----------------------------------------------------------------------------------


def _draw(center, angle=0.0, is_disc=True, extent=12.0):
    texture = np.zeros((112, 112, 3), np.float32)
    texture[:, :56] = 250  # the left half of an object whose center is at the tile's center
    texture[:, 56:] = 100
    frame = np.zeros((112, 112, 3), np.float32)
    rendering._draw_object(frame, texture, (56.0, 56.0), center, angle, is_disc, extent)
    return frame


@pytest.mark.parametrize("is_disc", [True, False])
def test_objects_wrap_around_the_borders(is_disc):
    middle = _draw((56.25, 56.5), 0.4, is_disc)
    corner = _draw((0.25, 111.5), 0.4, is_disc)
    np.testing.assert_allclose(np.roll(middle, (55, -56), (0, 1)), corner, atol=1e-3)
    assert (corner[0, 0] > 0).all() and (corner[-1, -1] > 0).all()


def test_angles_grow_clockwise_on_the_screen():
    bright = []
    for angle in (0.0, math.pi / 2, math.pi):
        y, x = np.nonzero(_draw((56.0, 56.0), angle)[..., 0] > 200)
        bright.append((np.sign(round(x.mean() - 55.5)), np.sign(round(y.mean() - 55.5))))
    assert bright == [(-1, 0), (0, -1), (1, 0)]  # the bright half: left, top, right


def test_objects_have_their_size_and_soft_edges():
    disc, square = _draw((56.3, 56.0)), _draw((56.3, 56.0), is_disc=False)
    coverage = [
        np.where(o[..., 0] > 100.5, o[..., 0] / 250, o[..., 0] / 100) for o in (disc, square)
    ]
    assert coverage[0].sum() == pytest.approx(math.pi * 12**2, rel=0.04)
    assert coverage[1].sum() == pytest.approx(24**2, rel=0.04)
    assert ((disc > 0) & (disc < 90)).any()


def test_slow_motion_is_smooth():
    frames = [_draw((56 + step / 8, 56.0)) for step in range(9)]
    changes = [abs(b - a).sum() for a, b in itertools.pairwise(frames)]
    assert max(changes) < 2 * min(changes)


@pytest.mark.parametrize("kind", ["object", "background"])
@pytest.mark.parametrize("split", rendering.SPLITS)
def test_textures_are_tileable_and_rich(kind, split):
    for identifier in rendering.TEXTURES[split][:6]:
        texture = rendering._texture(kind, identifier, 112)
        inside = abs(np.diff(texture, axis=0)).mean(axis=(1, 2)).max()
        assert abs(texture[0] - texture[-1]).mean() < 1.5 * inside
        assert texture.min() >= 0 and texture.max() <= 255
        assert texture.std(axis=(0, 1)).max() > (40 if kind == "object" else 12)


def test_objects_stand_out_from_the_background():
    for split, identifiers in rendering.TEXTURES.items():
        brightness = {
            kind: [rendering._texture(kind, i, 112).max(-1).mean() for i in identifiers]
            for kind in ("object", "background")
        }
        assert min(brightness["object"]) > max(brightness["background"]) + 60, split


def test_the_background_drifts_slowly_and_evenly():
    clip = rendering.draw_clip("turn_cw", "train", 0, 0)
    velocities = np.array([rendering.draw_clip("left", "train", i, 0).drift for i in range(200)])
    speeds = np.linalg.norm(velocities, axis=1)
    assert speeds.min() >= 0.1 and speeds.max() <= 0.3
    assert abs(velocities.mean(0)).max() < 0.04
    frames = rendering._render(clip, 112).astype(float)
    path = trajectory(clip.label, clip.layout, clip.speed)
    grid = np.stack(np.meshgrid(np.arange(112), np.arange(112)), -1) + 0.5
    apart = [abs((grid - c + 56) % 112 - 56).max(-1) > 30 for c in (path.disc[0], path.square[0])]
    change = abs(frames[1] - frames[0]).mean(-1)[apart[0] & apart[1]]
    assert 0 < change.mean() < 10


def test_render_clip_repeats_and_depends_on_everything():
    frames = rendering.render_clip("circle_cw", "train", 0, 0, size=32)
    assert frames.shape == (FRAMES, 32, 32, 3) and frames.dtype == np.uint8
    assert np.array_equal(frames, rendering.render_clip("circle_cw", "train", 0, 0, size=32))
    for other in (
        ("circle_ccw", "train", 0, 0),
        ("circle_cw", "test", 0, 0),
        ("circle_cw", "train", 1, 0),
        ("circle_cw", "train", 0, 1),
    ):
        assert not np.array_equal(frames, rendering.render_clip(*other, size=32))


def test_draw_clip_treats_all_classes_alike():
    # The draws that do not belong to the trajectory come from the same generator state onwards.
    clips = [
        [rendering.draw_clip(label, "train", index, 0) for index in range(200)] for label in CLASSES
    ]
    for name in ("speed", "disc_radius", "square_side", "disc", "square", "background"):
        values = np.array([[getattr(clip, name) for clip in row] for row in clips], float)
        error = values.std() / math.sqrt(values.shape[1])
        assert abs(values.mean(1) - values.mean()).max() < 4 * error, name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sideways", "train", 0, 0), "`label` must be one of"),
        (("left", "validation", 0, 0), "`split` must be one of train, test"),
        (("left", "train", -1, 0), "`index` must be an integer of at least 0. Received: -1"),
        (("left", "train", 0, -1), "`seed` must be an integer of at least 0. Received: -1"),
        (("left", "train", 0, 0.5), "`seed` must be an integer of at least 0. Received: 0.5"),
        (("left", "train", 0, 0, 33), "`size` must be even.*Received: 33"),
        (("left", "train", 0, 0, 8), "`size` must be an integer of at least 32.*Received: 8"),
    ],
)
def test_render_clip_refuses_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        rendering.render_clip(*arguments)


# --- Files ------------------------------------------------------------------------------------


def _contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered")
    table = rendering.write_dataset(folder, 2, size=32, workers=1)
    assert table == folder / "clips.csv"
    return folder


def _rows(folder):
    with open(folder / "clips.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_files_and_table(rendered):
    rows = _rows(rendered)
    assert tuple(rows[0]) == rendering.COLUMNS
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    videos = {path for path in _contents(rendered) if path.endswith(".mp4")}
    assert videos == {row["path"] for row in rows}
    assert set(_contents(rendered)) == videos | {"clips.csv", "render.json"}
    for row in rows:
        assert row["path"].startswith(f"{row['split']}/{row['label']}/")
    for split, count in (("train", 2), ("test", 1)):
        labels = [row["label"] for row in rows if row["split"] == split]
        assert sorted(labels) == sorted(CLASSES * count)


def test_test_clips_have_their_own_textures_and_speeds(tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "_write_clips", lambda *arguments: None)
    rendering.write_dataset(tmp_path, 30)
    rows = {
        split: [row for row in _rows(tmp_path) if row["split"] == split]
        for split in rendering.SPLITS
    }
    for columns in (("background",), ("disc", "square")):
        train, test = ({row[c] for row in rows[s] for c in columns} for s in ("train", "test"))
        assert len(train) > 40 and len(test) > 20 and not train & test
    train, test = (np.array([float(row["speed"]) for row in rows[s]]) for s in ("train", "test"))
    assert abs(train[:, None] - test).min() > 0.02
    assert train.min() < test.min() and test.max() < train.max()


def test_a_render_repeats_whatever_the_number_of_workers(rendered, tmp_path):
    rendering.write_dataset(tmp_path / "new" / "folder", 2, size=32, workers=2)
    assert _contents(tmp_path / "new" / "folder") == _contents(rendered)


def test_seeds_differ(tmp_path, monkeypatch):
    monkeypatch.setattr(rendering, "_write_clips", lambda *arguments: None)
    tables = [
        rendering.write_dataset(tmp_path / str(seed), 2, seed=seed).read_bytes()
        for seed in (0, 1, 2**40)
    ]
    assert len(set(tables)) == 3


def test_videos_are_h264_and_faithful(tmp_path):
    clip = rendering.draw_clip("mirror_cw", "test", 0, 0)
    rendering._write_clip(tmp_path, clip, 112)
    with av.open(str(tmp_path / clip.path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height, stream.pix_fmt) == (112, 112, "yuv420p")
        assert stream.average_rate == rendering.FPS
        decoded = [frame for frame in container.decode(stream)]
        assert container.duration == pytest.approx(2.4e6, abs=1e4)
    assert len(decoded) == FRAMES
    assert [frame.key_frame for frame in decoded] == [1] + [0] * (FRAMES - 1)
    assert [round(frame.time * rendering.FPS) for frame in decoded] == list(range(FRAMES))
    pixels = np.stack([frame.to_ndarray(format="rgb24") for frame in decoded]).astype(int)
    expected = rendering.render_clip("mirror_cw", "test", 0, 0)
    assert abs(pixels - expected).mean() < 4


def test_a_second_run_renders_what_is_missing(rendered, tmp_path):
    rendering.write_dataset(tmp_path, 2, size=32, workers=1)
    kept, lost = (tmp_path / "train" / "left" / name for name in ("0000.mp4", "0001.mp4"))
    kept.write_bytes(b"not rendered again")
    lost.unlink()
    (tmp_path / "clips.csv").unlink()
    rendering.write_dataset(tmp_path, 2, size=32, workers=1)
    assert kept.read_bytes() == b"not rendered again"
    kept.write_bytes((rendered / "train" / "left" / "0000.mp4").read_bytes())
    assert _contents(tmp_path) == _contents(rendered)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_run_leaves_only_whole_videos(rendered, tmp_path, monkeypatch, workers):
    # With two processes the failure is a folder where the video should be.
    if workers == 1:
        encode, calls = rendering._encode, []

        def fail(frames, path):
            calls.append(path)
            if len(calls) > 3:
                Path(path).write_bytes(b"half a video")
                raise OSError("disk full")
            encode(frames, path)

        monkeypatch.setattr(rendering, "_encode", fail)
    else:
        (tmp_path / "test").mkdir()
        (tmp_path / "test" / "up").write_text("in the way")
        (tmp_path / "render.json").write_bytes((rendered / "render.json").read_bytes())
    with pytest.raises(OSError):
        rendering.write_dataset(tmp_path, 2, size=32, workers=workers)
    monkeypatch.undo()
    found, expected = _contents(tmp_path), _contents(rendered)
    assert "clips.csv" not in found
    assert all(found[path] == expected[path] for path in found if path != "test/up")
    (tmp_path / "test" / "up").unlink(missing_ok=True)
    rendering.write_dataset(tmp_path, 2, size=32, workers=1)
    assert _contents(tmp_path) == expected


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"seed": 1}, "seed=0 there, 1 wanted"),
        ({"size": 48}, "size=32 there, 48 wanted"),
        ({"clips_per_class": 3}, "clips_per_class=2 there, 3 wanted"),
        ({"test_clips_per_class": 2}, "test_clips_per_class=1 there, 2 wanted"),
    ],
)
def test_a_render_with_other_options_is_refused(rendered, options, difference):
    before = _contents(rendered)
    with pytest.raises(ValueError, match=f"other options.*{difference}.*choose another folder"):
        rendering.write_dataset(rendered, **{"clips_per_class": 2, "size": 32, **options})
    assert _contents(rendered) == before


def test_foreign_folders_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="File exists"):
        rendering.write_dataset(tmp_path / "file")
    (tmp_path / "other" / "train").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"holds train but no render\.json"):
        rendering.write_dataset(tmp_path / "other")
    assert not (tmp_path / "other" / "render.json").exists()
    for text in ("{", "[]", json.dumps({"seed": 0})):
        (tmp_path / "render.json").write_text(text)
        with pytest.raises(ValueError, match=r"render\.json"):
            rendering.write_dataset(tmp_path)
        assert (tmp_path / "render.json").read_text() == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clips_per_class": 0}, "`clips_per_class` must be .* at least 1. Received: 0"),
        ({"test_clips_per_class": 0}, "`test_clips_per_class` must be .*Received: 0"),
        ({"workers": 0}, "`workers` must be .*Received: 0"),
        ({"seed": -1}, "`seed` must be .*Received: -1"),
        ({"size": 1024}, "`size` must be .* at most 512. Received: 1024"),
    ],
)
def test_write_dataset_refuses_bad_arguments(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        rendering.write_dataset(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()
