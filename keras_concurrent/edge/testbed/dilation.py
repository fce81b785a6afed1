"""Time dilation: more emulated boards than a machine carries at their full speed.

Boards, messages and links that are all so many times slower than described behave as the described
ones do in a slower time; what they take, divided by that many, is what the described ones would.
Only this machine's own share, waking up and waiting for a core, is not slower, and so counts for
as much less (Gupta et al., "To Infinity and Beyond: Time-Warped Network Emulation", NSDI 2006).
"""

from __future__ import annotations

from dataclasses import replace

from keras_concurrent.cluster import Cluster


def dilated(cluster: Cluster, times: float) -> Cluster:
    """The same boards, client and network, all of which take so many times as long.

    Args:
        cluster: the boards as they are.
        times: above 0.

    Raises:
        ValueError: another number.
    """
    if not 0 < times < float("inf"):
        raise ValueError(f"times must be a number above 0, got {times!r}")
    network = cluster.network
    return replace(
        cluster,
        boards=tuple(
            replace(board.faster(1 / times), call_ms=times * board.call_ms).cheaper_messages(
                1 / times
            )
            for board in cluster.boards
        ),
        network=replace(
            network,
            bandwidth_mbit_per_s=network.bandwidth_mbit_per_s / times,
            latency_ms=times * network.latency_ms,
        ),
        links=tuple(
            replace(
                link,
                bandwidth_mbit_per_s=link.bandwidth_mbit_per_s / times,
                latency_ms=times * link.latency_ms,
            )
            for link in cluster.links
        ),
        client=cluster.client.cheaper_messages(1 / times),
    )
