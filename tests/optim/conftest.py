import pytest


@pytest.fixture(scope="session", autouse=True)
def kernel_cache(tmp_path_factory):
    """Build the fused kernel once a session, in a folder of the test's own."""
    patch = pytest.MonkeyPatch()
    patch.setenv("DIFFWRIGHT_CACHE", str(tmp_path_factory.mktemp("kernel")))
    yield
    patch.undo()
