import os

import pytest

from keras_videorel.serving import load_models


def test_models_that_do_not_load_are_set_aside(saved_models, caplog):
    found, broken = load_models(saved_models)
    assert list(found) == ["colors"] and broken == ["damaged"]
    assert "damaged cannot be used: " in caplog.text
    with pytest.raises(ValueError, match=r"`models` must be a folder with an exported model"):
        load_models(os.path.join(saved_models, "notes"))


def test_folder_names_need_not_be_unicode(folder, tmp_path):
    for name in (b"a\xff", b"lr[0.01]", b".tmp-b", "caf\u00e9".encode()):
        os.symlink(folder, os.path.join(os.fsencode(tmp_path), name))
    found, broken = load_models(tmp_path)
    assert set(found) == {"a\ufffd", "café", "lr[0.01]"} and broken == []


def test_a_folder_that_is_a_model_is_served(folder):
    found, broken = load_models(folder)
    assert list(found) == [os.path.basename(folder)] and broken == []
