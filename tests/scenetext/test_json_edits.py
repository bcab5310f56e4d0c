import json

import pytest

from diffwright.core.errors import InputError
from diffwright.scenetext.json_edits import read_edits


def written(folder, value):
    path = folder / "edits.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_every_key_is_read(tmp_path):
    entries = [
        {"box": [1, 2, 30, 40], "write": "OPEN", "font": "Lato", "color": "teal", "bold": True, "italic": False,
         "mix": ["Karla", 0.25], "seed": 3, "candidates": 2},
        {"polygon": [[0, 0], [20, 1], [20, 9], [0, 8]], "write": "", "instruction": None},
        {"mask": "sign.png", "write": "SHUT", "instruction": "in the color of the sky"},
    ]  # fmt: skip
    first, second, third = read_edits(written(tmp_path, {"edits": entries}))
    assert (first.region, first.text, first.font, first.color) == ((1, 2, 30, 40), "OPEN", "Lato", "teal")
    assert (first.bold, first.italic, first.mix, first.seed, first.candidates) == (
        True,
        False,
        ("Karla", 0.25),
        3,
        2,
    )
    assert second.region == ((0, 0), (20, 1), (20, 9), (0, 8))
    assert (second.text, second.instruction, second.seed) == ("", None, None)
    assert third.region == tmp_path / "sign.png"
    assert third.instruction == "in the color of the sky"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "not sound JSON"),
        ([], "expected an object"),
        ({}, '"edits"'),
        ({"edits": []}, "1 to 200"),
        ({"edits": [{"box": [0, 0, 9, 9], "write": "A"}], "more": 1}, "nothing else"),
        ({"edits": ["A"]}, "edit 1"),
        ({"edits": [{"box": [0, 0, 9, 9], "write": "A"}, {"write": "A"}]}, "edit 2"),
        ({"edits": [{"box": [0, 0, 9, 9]}]}, 'needs "write"'),
        ({"edits": [{"box": [0, 0, 9, 9], "mask": "a.png", "write": "A"}]}, "exactly one"),
        ({"edits": [{"box": [0, 0, 9, 9], "write": "A", "colour": "red"}]}, "did you mean 'color'"),
        ({"edits": [{"box": [0, 0, 9, 9], "write": 7}]}, '"write" of edit 1'),
        ({"edits": [{"box": [0, 0, 9, 9], "write": None}]}, "null"),
        ({"edits": [{"box": [0, 0, 9, 9], "write": "A", "seed": True}]}, "a whole number"),
        ({"edits": [{"box": [0, 0, 9, 9], "write": "A", "bold": 1}]}, "true or false"),
        ({"edits": [{"box": [0, 0, 9], "write": "A"}]}, "four whole numbers"),
        ({"edits": [{"polygon": [[0, 0], [1, 1], 7], "write": "A"}]}, "points"),
        ({"edits": [{"mask": 7, "write": "A"}]}, "path of a picture"),
        ({"edits": [{"box": [0, 0, 9, 9], "write": "A", "mix": ["Karla"]}]}, "another font"),
    ],
)
def test_what_holds_no_edits_is_refused(tmp_path, value, said):
    with pytest.raises(InputError, match=said):
        read_edits(written(tmp_path, value))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        read_edits(tmp_path / "nowhere.json")
