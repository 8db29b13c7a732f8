"""Text on pictures, in scripts that the installed fonts have or lack."""

from keras_videorel import text


def test_characters_without_a_font_are_numbers():
    families, available = text.fonts("aЯ\u1f980\t")
    assert families[0] == "DejaVu Sans" and set("aЯ0") <= available
    assert "\t" not in available and text.drawable("a\t", available) == "a\\t"
