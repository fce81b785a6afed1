"""What the tests of boards and clients share."""

import pytest
from in_process import slow_boards


@pytest.fixture(scope="session")
def bundle(small_file, tmp_path_factory):
    """A small network planned on three boards."""
    from keras_concurrent.export.assemble import export_bundle

    made = export_bundle(small_file, slow_boards(3), tmp_path_factory.mktemp("bundle") / "bundle")
    assert len(made.placement("boards").programs) == 3
    return made
