"""What the tests of the service share."""

import pytest
from in_process import slow_boards


@pytest.fixture(scope="session")
def bundle(small_file, tmp_path_factory):
    """A small network planned on three boards."""
    from keras_concurrent.export.assemble import export_bundle

    return export_bundle(small_file, slow_boards(3), tmp_path_factory.mktemp("bundle") / "bundle")


@pytest.fixture(scope="session")
def served(bundle):
    from served import serving_in_process  # skips where the extra 'serve' is not installed

    with serving_in_process(bundle) as each:
        yield each
