"""A client of boards over the network."""

from __future__ import annotations

from pathlib import Path

from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.client.client import IN_FLIGHT, Client
from keras_concurrent.edge.link.direct import DirectChannel
from keras_concurrent.edge.link.keys import keys_of
from keras_concurrent.edge.link.pacing import pacer_of

_READY_S = {"all": 20.0, "some": 3.0, "none": 0.0}


def connect(
    bundle: Bundle,
    cluster: Cluster,
    placement: str = "boards",
    *,
    keys: Path | None = None,
    pace: Path | None = None,
    in_flight: int = IN_FLIGHT,
    ready: str = "all",
) -> Client:
    """A client of boards that run already.

    Args:
        bundle: what they run.
        cluster: where they listen.
        placement: ``"boards"`` or ``"one_board"``.
        keys: folder of keys, where they listen beyond loopback.
        pace: file of an emulated network, see `keras_concurrent.edge.link.pacing.pacer_of`.
        in_flight: how many images may be asked for and not yet answered.
        ready: boards to wait for: ``"all"``; ``"some"``, of which those that are there do the
            others' work until they come; ``"none"``, to ask boards that may be missing, or have
            another bundle.

    Raises:
        KeysError: the boards listen beyond loopback, and keys are missing.
        BoardError: a board is not ready in time.
        BundleError: a board has another bundle.
        ValueError: an unknown ``ready``.
    """
    if ready not in _READY_S:
        raise ValueError(f"ready must be one of {', '.join(_READY_S)}, got {ready!r}")
    channel = DirectChannel(CLIENT, cluster, keys_of(CLIENT, cluster, keys))
    try:  # an open session of Zenoh's keeps the process alive, also after Ctrl-C
        pacer = pacer_of(cluster, CLIENT, pace)
        client = Client(bundle, cluster, channel, placement, pacer=pacer, in_flight=in_flight)
    except BaseException:
        channel.close()
        raise
    if ready != "none":
        try:
            client.wait_ready(_READY_S[ready], all_boards=ready == "all")
        except BaseException:
            client.close()
            raise
    return client
