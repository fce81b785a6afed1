"""Clusters whose messages take no processor time, for tests of everything else."""

import dataclasses
import math

from keras_concurrent.cluster import Cluster
from keras_concurrent.network import ClientComputer


def costless(boards, network, links=()):
    """A cluster whose boards and client spend nothing on a message."""
    free = tuple(board.cheaper_messages(math.inf) for board in boards)
    return Cluster(free, network, links, ClientComputer(0.0, None))


def without_message_costs(cluster):
    """The same cluster, whose boards and client spend nothing on a message."""
    free = costless(cluster.boards, cluster.network, cluster.links)
    return dataclasses.replace(free, client=dataclasses.replace(free.client, on=cluster.client.on))
