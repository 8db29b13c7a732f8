"""Splits that are drawn, with the clips of a recording together."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import Counter, defaultdict
from typing import NamedTuple

from keras_videorel.data.sources import DataSet, sorted_labels


class Drawing(NamedTuple):
    """How videos without a split get one.

    Attributes:
        test: Part of each class for the test split, in [0, 1).
        val: Part of each class for the validation split.
        seed: Seed of the choice.
        pattern: Regular expression with one group, which names the recording of a file. By
            default the names of UCF-101, HMDB-51 and Kinetics are understood.
    """

    test: float | None = None
    val: float | None = None
    seed: int = 0
    pattern: str | None = None


NOTHING = Drawing()


def draw(data: DataSet, drawing: Drawing, groups: dict[str, str] | None = None) -> DataSet:
    """Move parts of the training videos to the test and the validation split.

    Of each class the fraction is moved, to the next whole number of groups: clips of one group
    stay together, over all classes. A class of at least two groups keeps one in each split, unless
    the fraction is 0. The split of a clip depends only on the names of its class and of classes
    that share groups with it.

    Args:
        data: The data set.
        drawing: What to draw.
        groups: The groups of videos, by their names. Other videos are grouped by their recordings
            (`drawing.pattern`), or else by their files.

    Raises:
        ValueError: If `drawing` is not valid, there are videos in these splits already, or the
            pattern matches no name.
    """
    _check(drawing)
    videos, shares = data.videos, {"test": drawing.test, "val": drawing.val}
    for split, share in shares.items():
        if share is not None and any(v.split == split or split in v.splits for v in videos):
            raise ValueError(
                f"`{split}_fraction` is for data without a {split} split, but this has one: leave "
                f"it out. Received: {share}"
            )
    if drawing.test is None and drawing.val is None:
        return data
    groups, warnings = _groups(videos, drawing.pattern, groups or {})
    if drawing.val is not None:  # of what is left
        shares["val"] = drawing.val / (1 - (drawing.test or 0))
    for split, share in shares.items():
        if share is None:
            continue
        pool = [v for v in videos if v.split == "train"]
        drawn = _drawn_groups(pool, groups, share, drawing.seed)
        for label in sorted_labels({v.label for v in pool}) if share else ():
            own = [groups[v.name] for v in pool if v.label == label]
            if len(own) > 1 and not drawn & {*own}:
                count = len({*own})
                warnings.append(
                    f"no {split} clip of {label}: its clips are of {count} "
                    f"recording{'s'[: count != 1]} that training keeps"
                )
        videos = [_moved(v, split) if groups[v.name] in drawn else v for v in videos]
    if drawing.pattern is None:
        warnings += _suspicions(videos, groups)
    return data._replace(videos=videos, warnings=[*data.warnings, *warnings], drawn=True)


def shuffled(values, seed: int) -> list:
    """Videos, or names, in an order that depends only on their names and the seed."""

    def key(value):
        name = getattr(value, "name", value)
        return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()

    return sorted(values, key=key)


def _check(drawing):
    for name, fraction in (("test_fraction", drawing.test), ("val_fraction", drawing.val)):
        if fraction is not None and not 0 <= fraction < 1:
            raise ValueError(f"`{name}` must be in [0, 1). Received: {fraction}")
    if not (drawing.test or 0) + (drawing.val or 0) < 1:
        raise ValueError(
            "`test_fraction` and `val_fraction` must leave something for training. Received: "
            f"{drawing.test} and {drawing.val}"
        )
    if drawing.pattern is None:
        return
    if drawing.test is None and drawing.val is None:
        raise ValueError(
            "`group_pattern` is for `test_fraction` and `val_fraction`. Received: "
            f"{drawing.pattern!r} without them"
        )
    try:
        groups = re.compile(drawing.pattern).groups
        wrong = "" if groups == 1 else f"{groups} groups"
    except re.error as error:
        wrong = str(error)
    if wrong:
        raise ValueError(
            "`group_pattern` must be a regular expression with one group, such as "
            f"'(person[0-9]+)_'. Received: {drawing.pattern!r} ({wrong})"
        )


def _moved(video, split):
    """A training video, moved to another split in every fold that trains on it."""
    splits = tuple(split if own == "train" else own for own in video.splits)
    return video._replace(split=split if video.split == "train" else video.split, splits=splits)


def _drawn_groups(videos, groups, fraction, seed):
    """The groups that make up a part of each class."""
    counts, labels_of = defaultdict(Counter), defaultdict(set)
    for video in videos:
        counts[video.label][groups[video.name]] += 1
        labels_of[groups[video.name]].add(video.label)
    left = {label: len(own) for label, own in counts.items()}
    drawn, kept = set(), set()

    def can_go(group):
        return all(left[label] > 1 for label in labels_of[group])

    def take(group):
        drawn.add(group)
        for label in labels_of[group]:
            left[label] -= 1

    # Classes of few groups first: the others have more to choose from.
    for label in sorted(counts, key=lambda label: (len(counts[label]), label)):
        own = counts[label]
        target = math.floor(fraction * own.total() + 0.5)
        have = sum(own[group] for group in own if group in drawn)
        order = shuffled([group for group in own if group not in drawn | kept], seed)
        for group in order:
            if 2 * have + own[group] < 2 * target and can_go(group):
                take(group)
                have += own[group]
        if not have and fraction > 0 and (able := [*filter(can_go, order)]):
            take(min(able, key=own.__getitem__))
        kept |= own.keys() - drawn
    return drawn


# UCF-101: v_LABEL_g01_c02. HMDB-51: MOVIE_LABEL, visible parts, camera, people, view, quality,
# number. Kinetics: ID and times, as the authors write them, and as others do.
_RECORDINGS = (
    r"(v_.+_g\d+)_c\d+",
    r"(.+)_[fhlu]_[cn]m_np\d+_(?:ba|fr|le|ri)_(?:bad|med|goo)_\d+",
    r"(.{11})_\d{6}_\d{6}",
    r"([\w-]{11})_\d+(?:\.\d+)?_\d+(?:\.\d+)?",
)


def _groups(videos, pattern, given):
    """`(groups, warnings)`: the group of each video by its name."""
    groups, unmatched = {}, []
    for video in videos:
        file = re.split(r"[/\\]", video.path)[-1]
        group = given.get(video.name)
        if group is None and pattern is not None:
            match = re.search(pattern, file)
            group = match and match[1]
            unmatched += [] if match else [file]
        elif group is None:
            group = _recording(os.path.splitext(file)[0], video.label)
        groups[video.name] = video.path if group is None else group
    if unmatched and len(unmatched) == len(videos):
        raise ValueError(
            f"`group_pattern` must match the names of the files. Received: {pattern!r}, which "
            f"matches none of {len(videos)}, such as {unmatched[0]!r}"
        )
    shown = f"{len(unmatched)} names do not match `group_pattern`, such as {unmatched[:1]}"
    return groups, [f"{shown}: each is a group of its own"] if unmatched else []


def _recording(stem, label):
    """The recording that a name of a known data set tells, or None."""
    match = next(filter(None, (re.fullmatch(pattern, stem) for pattern in _RECORDINGS)), None)
    label = label.replace(" ", "_")
    if match is None or match[1].lower() == label.lower():  # a class, in names of its clips
        return None
    return match[1].removesuffix(f"_{label}")  # of HMDB's


# Cameras count all their files, so a number behind these says nothing of recordings.
_CAMERAS = re.compile(
    "(img|vid|mov|mvi|dsc[nf]?|dji|gopr|gx|gh|pxl|video|clip|movie|film|frame)[ _-]*", re.IGNORECASE
)


def _suspicions(videos, groups):
    """A warning if names in two splits look like parts of one recording.

    They do if they differ in their only number, or in the numbers after the first one.
    """
    families = defaultdict(lambda: defaultdict(list))
    for video in videos:
        stem = os.path.splitext(video.path.rpartition("/")[2])[0]
        head, *rest = re.split(r"(\d+)", stem)
        # Dates begin with a number and have three.
        named = re.search(r"[^\W\d_]", head) or len(rest) == 4
        if rest and named and not _CAMERAS.fullmatch(head) and groups[video.name] == video.path:
            base = head if len(rest) == 2 else head + rest.pop(0)
            families[video.label][base, re.sub(r"\d+", "#", "".join(rest))].append(video)
    pairs, others = [], set()
    for own in families.values():
        for family in own.values() if len(own) > 1 else ():  # one name for all says nothing
            trained = [v for v in family if v.split == "train"]
            held_out = [v for v in family if v.split != "train"]
            if trained and held_out:
                pairs.append((trained[0].path, held_out[0].path, held_out[0].split))
                others.update(v.name for v in held_out)
    if not pairs:
        return []
    first, second, split = pairs[0]
    return [
        f"{first} (train) and {second} ({split}) look like parts of one recording; {len(others)} "
        "clips outside of train have such a sibling there. If they are, name the recordings by "
        "--group_pattern, or by the column group of a table"
    ]
