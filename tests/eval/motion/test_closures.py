"""Closures of the lips out of timed transcripts."""

import pytest

from multitalk.eval.motion.closures import is_bilabial, read_closures
from multitalk.eval.vertex_files import VertexFileError

# As the Montreal Forced Aligner writes it; "am!" has a quoted word and Praat's comment sign in it.
LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.0
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1.0
        intervals: size = 2
        intervals [1]:
            xmin = 0.0
            xmax = 0.5
            text = "1 ""bam"" b!"
        intervals [2]:
            xmin = 0.5
            xmax = 1.0
            text = ""
    item [2]:
        class = "IntervalTier"
        name = "speaker - phones"
        xmin = 0
        xmax = 1.0
        intervals: size = 4
        intervals [1]:
            xmin = 0.0
            xmax = 0.12
            text = "b"
        intervals [2]:
            xmin = 0.12
            xmax = 0.3
            text = "a"
        intervals [3]:
            xmin = 0.3
            xmax = 0.5
            text = "m\u02d0"
        intervals [4]:
            xmin = 0.5
            xmax = 1.0
            text = "spn"
"""
SHORT = (
    '"ooTextFile"\n"TextGrid"\n0\n1\n<exists>\n2\n"TextTier"\n"p"\n0\n1\n1\n0.5\n"b"\n'
    '"IntervalTier"\n"phones"\n0\n1\n2\n0\n.5e0\n"AH0"\n0.5\n1\n"P"\n'
)


@pytest.mark.parametrize(
    ("text", "encoding", "spans"),
    [
        (LONG, "utf-8", [(0.0, 0.12), (0.3, 0.5)]),
        (LONG, "utf-16", [(0.0, 0.12), (0.3, 0.5)]),
        (SHORT.replace(".5e0", "0.5"), "utf-8", [(0.5, 1.0)]),
    ],
)
def test_phones_of_an_aligner(tmp_path, text, encoding, spans):
    (tmp_path / "german").mkdir()
    (tmp_path / "german/clip_1.TextGrid").write_text(text, encoding=encoding)
    assert read_closures(tmp_path) == {"clip_1": spans}


@pytest.mark.parametrize("phone", ["p", "b", "m", "pʰ", "mʲ", "b\u02d0", "P", "B", "p͡f", "mb", "m̩", " b "])
def test_what_closes_the_lips(phone):
    assert is_bilabial(phone)


@pytest.mark.parametrize("phone", ["", "f", "v", "w", "n", "AH0", "pau", "spn", "t͡s", "ɱ", "breath", "ʍ"])
def test_what_does_not(phone):
    assert not is_bilabial(phone)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "begin"),
        ("not one", "begin"),
        (LONG[:700], "the end"),
        (LONG.replace("speaker - phones", "notes"), "its tiers: words, notes"),
        (LONG.replace("size = 4", "size = 1e400"), "TextGrid"),
        (LONG.replace("xmin = 0.3", 'xmin = "x"'), "a number should stand"),
        (LONG.replace('text = "b"', "text = 7"), "a text should stand"),
    ],
)
def test_a_broken_file_is_named(tmp_path, text, says):
    (tmp_path / "clip.TextGrid").write_text(text)
    with pytest.raises(VertexFileError, match=says) as caught:
        read_closures(tmp_path)
    assert "clip.TextGrid" in str(caught.value)


def test_a_folder_without_any(tmp_path):
    with pytest.raises(VertexFileError, match=r"no \.TextGrid"):
        read_closures(tmp_path)


def test_json_by_clip(tmp_path):
    file = tmp_path / "closures.json"
    file.write_text('{"a": [[0.1, 0.2]], "b": []}')
    assert read_closures(file) == {"a": [(0.1, 0.2)], "b": []}
    for wrong in ("[]", '{"a": [1]}', "nothing"):
        file.write_text(wrong)
        with pytest.raises(VertexFileError, match="closures"):
            read_closures(file)


def test_times_are_numbers(tmp_path):
    path = tmp_path / "closures.json"
    path.write_text('{"a": [[0.1, Infinity]]}')
    with pytest.raises(VertexFileError, match="no time"):
        read_closures(path)
