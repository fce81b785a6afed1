"""What can go wrong, as one small tree.

::

    ConcurrentError
    ├── MissingExtraError   an optional package is not installed; names the extra
    ├── ConversionError     a Keras model has no equal .tflite
    ├── ModelFileError      a .tflite that cannot be read or cut
    ├── ClusterError        a cluster file that describes no cluster
    ├── PlacementError      a placement file that nothing can run
    ├── TrialError          an interpreter dies of a file, or never comes back
    ├── BundleError         a bundle that is missing a part, altered, or from another version
    ├── KeysError           an unprotected endpoint, or keys that are missing
    ├── TransportError      a link could not be opened, or broke
    ├── ProtocolError       a message is none of ours, or a board's version is another
    └── BoardError          a board failed or did not answer; names the board and the cause

A bad argument in a call is a plain ``ValueError``. Every message says what was expected and what
came. ``UnknownOperatorWarning`` is no error: the work goes on with an estimate.
"""

from __future__ import annotations


class ConcurrentError(Exception):
    """Base class of all errors of this package."""


class MissingExtraError(ConcurrentError, ImportError):
    """An optional package is needed and not installed.

    Args:
        package: the package that could not be imported.
        extra: the extra of ``keras-concurrent`` that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed; it comes with the extra '{extra}': "
            f"pip install 'keras-concurrent[{extra}]'"
        )
        self.package = package
        self.extra = extra


class ConversionError(ConcurrentError):
    """A Keras model could not be turned into a .tflite that answers equally."""


class ModelFileError(ConcurrentError):
    """A .tflite file cannot be read, or not be cut."""


class UnknownOperatorWarning(UserWarning):
    """A .tflite has operators whose FLOPs are estimated, because no rule counts them."""


class ClusterError(ConcurrentError):
    """A cluster description is wrong."""


class PlacementError(ConcurrentError):
    """A placement file is wrong, or describes what cannot run."""


class BundleError(ConcurrentError):
    """A bundle on disk is incomplete, altered, or of an unknown schema version."""


class TrialError(ConcurrentError):
    """This machine's interpreter dies of a file, or does not come back from it."""


class KeysError(ConcurrentError):
    """An endpoint is not protected, or a participant's keys are missing."""


class TransportError(ConcurrentError):
    """A link between boards could not be opened, or broke."""


class ProtocolError(ConcurrentError):
    """A message is none of this protocol's, or a participant speaks another version of it."""


class BoardError(ConcurrentError):
    """A board failed, or did not answer in time."""
