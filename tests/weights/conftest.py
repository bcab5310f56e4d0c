import os
import pickle

import pytest

from tests.support import tiny


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Directories of tiny models by kind, saved once."""
    root = tmp_path_factory.mktemp("models")
    return lambda kind: root / kind if (root / kind).exists() else tiny.folder(kind, root / kind)


@pytest.fixture
def canary(tmp_path):
    """A pickle that would make a file when loaded; the file must never appear."""
    trace = tmp_path / "executed"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(trace),)

    payload = pickle.dumps(Evil())
    yield payload
    assert not trace.exists(), "a hostile file was executed"
