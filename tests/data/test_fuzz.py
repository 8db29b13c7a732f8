import importlib.util
import time

import numpy as np
import pytest

from keras_videorel.data import video
from keras_videorel.data.decoder import Decoder, Settings
from tests.videos import moving_square

MUTANTS = 120
SETTINGS = Settings((32, 43), 80, "dis")


@pytest.fixture(scope="module")
def fuzz(root):
    """The benchmark, which knows how to damage files and what must hold nevertheless."""
    path = root / "benchmarks" / "decoding_fuzz.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sources(fuzz):
    frames = moving_square(24, 48, 64)
    made = [(kind[0], fuzz.encode(frames, *kind)) for kind in fuzz.KINDS]
    return [(name, data) for name, data in made if data is not None]


def test_damaged_files(fuzz, sources, tmp_path):
    whole = rejected = 0
    good = tmp_path / "good.mp4"
    good.write_bytes(sources[0][1])
    with Decoder(SETTINGS, time_limit=20) as decoder:
        expected = decoder.encode(good)
        fuzz.check(expected, SETTINGS)
        assert len(expected.jpegs) == 24 and expected.note is None
        for index in range(MUTANTS):
            rng = np.random.default_rng((7, index))
            (name, data), (_, other) = (sources[i] for i in rng.integers(len(sources), size=2))
            path = tmp_path / f"{index}.{name}"
            path.write_bytes(fuzz.mutate(data, other, rng))
            start = time.monotonic()
            try:
                clip = decoder.encode(path)
            except video.VideoError as error:
                assert error.path == str(path) and "\n" not in error.reason
                rejected += 1
            else:
                fuzz.check(clip, SETTINGS)
                whole += clip.note is None
            assert time.monotonic() - start < 30, path.name
            if index % 10 == 9:
                assert decoder.encode(good) == expected
    # All kinds of outcomes were there.
    assert rejected > MUTANTS / 10 and whole > MUTANTS / 20
    assert rejected + whole < 0.9 * MUTANTS


def test_damage_is_a_function_of_its_seed(fuzz, sources):
    (_, data), (_, other) = sources[0], sources[-1]
    for index in range(50):
        first, again = (
            fuzz.mutate(data, other, np.random.default_rng((3, index))) for _ in range(2)
        )
        assert first == again
    assert fuzz.mutate(data, other, np.random.default_rng((3, 50))) != first
