import json

import pytest

from diffwright.core.errors import InputError
from diffwright.tracing.resume import Pieces

JOB = {"prompt": "a mug", "seeds": [0]}


def test_finished_pieces_are_found_again(tmp_path):
    path = tmp_path / "new" / "pieces.json"
    first = Pieces(path, JOB)
    assert first.get("a") is None
    first.put("a", {"embedding": [0.1, -1 / 3]})
    assert Pieces(path, dict(reversed(JOB.items()))).get("a") == {"embedding": [0.1, -1 / 3]}
    Pieces.discard(path)
    Pieces.discard(path)
    assert not path.exists()
    assert Pieces(path, JOB).get("a") is None


def test_without_a_file_nothing_is_written():
    pieces = Pieces(None, JOB)
    pieces.put("a", {"embedding": [0.0]})
    assert pieces.get("a")


def test_files_of_other_traces_and_other_things_are_refused(tmp_path):
    path = tmp_path / "pieces.json"
    Pieces(path, JOB).put("a", {"m": [1.0]})
    with pytest.raises(InputError, match="other words, settings or weights"):
        Pieces(path, {**JOB, "seeds": [1]})
    for pieces in (None, [], {"a": []}, {"a": {}}, {"a": {"m": ["x"]}}, {"a": {"m": [1.0], "n": [1.0, 2.0]}}):
        Pieces(path, JOB).put("a", {"m": [1.0]})
        content = json.loads(path.read_text()) | {"pieces": pieces}
        path.write_text(json.dumps(content))
        with pytest.raises(InputError, match="damaged"):
            Pieces(path, JOB)
        path.unlink()
    path.write_text(json.dumps({"format": "else"}))
    with pytest.raises(InputError, match="no file of an interrupted trace"):
        Pieces(path, JOB)
    path.write_text('{"format"')
    with pytest.raises(InputError, match="not sound JSON"):
        Pieces(path, JOB)
