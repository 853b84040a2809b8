import pytest

from docs import examples


@pytest.fixture(scope="session")
def shown(tmp_path_factory):
    """Return the names that examples of docstrings and blocks of pages may use."""
    return examples.namespace(tmp_path_factory.mktemp("examples"))
