"""A client of boards over Zenoh."""

from __future__ import annotations

from pathlib import Path

from keras_concurrent.bundle import Bundle
from keras_concurrent.client import IN_FLIGHT, Client
from keras_concurrent.cluster import CLIENT, Cluster
from keras_concurrent.emulation import pacer_of
from keras_concurrent.keys import keys_of
from keras_concurrent.zenoh_channel import ZenohChannel

_ALL_S = 20.0
_SOME_S = 3.0


def connect(
    bundle: Bundle,
    cluster: Cluster,
    placement: str = "boards",
    *,
    keys: Path | None = None,
    pace: Path | None = None,
    in_flight: int = IN_FLIGHT,
    all_boards: bool = True,
) -> Client:
    """A client of boards that run already, once they are ready.

    Args:
        bundle: what they run.
        cluster: where they listen.
        placement: ``"boards"`` or ``"one_board"``.
        keys: folder of keys, where they listen beyond loopback.
        pace: file of an emulated network, see `keras_concurrent.emulation.pacer_of`.
        in_flight: see `Client`.
        all_boards: whether a board that is missing is an error; otherwise the others do its work
            until it comes.

    Raises:
        KeysError: the boards listen beyond loopback, and keys are missing.
        BoardError: a board is not ready in time.
        BundleError: a board has another bundle.
    """
    client = knock(bundle, cluster, placement, keys=keys, pace=pace, in_flight=in_flight)
    try:
        client.wait_ready(_ALL_S if all_boards else _SOME_S, all_boards=all_boards)
    except BaseException:
        client.close()
        raise
    return client


def knock(
    bundle: Bundle,
    cluster: Cluster,
    placement: str = "boards",
    *,
    keys: Path | None = None,
    pace: Path | None = None,
    in_flight: int = IN_FLIGHT,
) -> Client:
    """A client of boards that may not be ready, or have another bundle; see `connect`.

    Raises:
        KeysError: the boards listen beyond loopback, and keys are missing.
    """
    channel = ZenohChannel(CLIENT, cluster, keys_of(CLIENT, cluster, keys))
    pacer = pacer_of(cluster, CLIENT, pace)
    return Client(bundle, cluster, channel, placement, pacer=pacer, in_flight=in_flight)
