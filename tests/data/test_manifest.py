"""Names of classes from text files as editors and spreadsheets write them."""

import pytest

from keras_videorel.data.manifest import read_class_names


@pytest.mark.parametrize(
    "content",
    [
        b"left\nright hand\nop\xc3\xa9n\n",
        b"left\nright hand\nop\xc3\xa9n",
        b"\xef\xbb\xbfleft\r\nright hand\r\nop\xc3\xa9n\r\n",
        b"left \n\tright hand\nop\xc3\xa9n\xc2\xa0\n\n \n",
        b"left\rright hand\rop\xc3\xa9n\r",
        "left\n\ufeffright hand\u200b\nopén\n\u200b\n".encode(),
        "\ufeffleft\nright hand\nopén\n".encode("utf-16-le"),
        "\ufeffleft\r\nright hand\r\nopén\r\n".encode("utf-16-be"),
    ],
)
def test_marks_blanks_and_line_ends_are_no_part_of_a_name(tmp_path, content):
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    assert read_class_names(path) == ["left", "right hand", "opén"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "with no name"),
        (b"\xef\xbb\xbf\r\n\r\n", "with no name"),
        (b"left\n\nright\n", "an empty line 2"),
        (b"\nleft\n", "an empty line 1"),
        (b"left\nright\nleft \n", "'left' in lines 1 and 3"),
        (b"l\xe9ft\n", "another encoding; save the file as UTF-8"),
    ],
)
def test_what_cannot_be_an_index_is_refused(tmp_path, content, message):
    path = tmp_path / "labels.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_class_names(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
