"""Hints of what to install are those of `setup.cfg`."""

import configparser
import re
import sys

import pytest

from keras_videorel import extras


def test_hints_are_the_extras(root):
    config = configparser.ConfigParser()
    config.read(root / "setup.cfg")
    for extra, libraries in extras.LIBRARIES.items():
        wanted = config["options.extras_require"][extra].split("\n")
        assert list(libraries.values()) == [line for line in wanted if line.strip()]


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(ImportError) as error:
        extras.check_importable("LiteRT files", "litert")
    assert str(error.value).startswith("LiteRT files need pip install 'ai-edge-litert>=")


def test_nothing_is_installed_by_the_name_of_this_package(root):
    """It may be on no index."""
    files = [*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("keras_videorel/**/*.py")]
    assert len(files) > 50
    for path in files:
        assert not re.search(r"pip install .?keras.videorel", path.read_text(encoding="utf-8")), (
            path
        )
