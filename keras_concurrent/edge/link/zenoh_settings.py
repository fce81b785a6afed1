"""What Zenoh is told of a cluster: who listens where, and what each may do by its certificate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.link.keys import AUTHORITY, CERTIFICATE, KEY, Keys
from keras_concurrent.edge.link.protocol import (
    MOST_CONTENT_BYTES,
    MOST_TEXT_BYTES,
    PROTOCOL_VERSION,
)
from keras_concurrent.edge.link.transport import LEASE_S

TO = f"keras_concurrent/{PROTOCOL_VERSION}/to"
"""Key of messages: ``TO/receiver/sender``. Whoever speaks another version is not heard."""
ALIVE = "keras_concurrent/alive"
"""Key of who is there: ``ALIVE/name/version``."""


def settings(name: str, listen: Sequence[str], cluster: Cluster) -> dict[str, Any]:
    """Zenoh's settings for a participant that listens on some endpoints, if on any."""
    # One link a pair: each board connects to those before it, the client to all.
    known = [board.name for board in cluster.boards]
    connect = known if name == CLIENT else known[: known.index(name)]
    return {
        "mode": "peer",
        "listen/endpoints": list(listen),
        "listen/exit_on_failure": True,
        "connect/endpoints": [cluster.board(other).endpoint for other in connect],
        "connect/timeout_ms": -1,
        "connect/exit_on_failure": False,
        "connect/retry": {"period_init_ms": 50, "period_max_ms": 500},
        "scouting/multicast/enabled": False,
        "scouting/gossip/enabled": False,
        "transport/shared_memory/enabled": False,
        "transport/link/tx/lease": round(LEASE_S * 1e3),
        "transport/link/rx/max_message_size": MOST_CONTENT_BYTES + MOST_TEXT_BYTES,
    }


def protection(others: Sequence[str], keys: Keys) -> dict[str, Any]:
    """Zenoh's settings for mutual TLS, and what each of the others may do by its certificate."""
    everything = ["put", "declare_subscriber", "liveliness_token", "declare_liveliness_subscriber",
                  "liveliness_query"]  # fmt: skip
    rules = [_rule("out", "egress", everything, "keras_concurrent/**")]
    policies = []
    for other in others:
        own = [
            _rule(f"send {other}", "ingress", ["put"], f"{TO}/*/{other}"),
            _rule(f"hear {other}", "ingress", ["declare_subscriber"], f"{TO}/{other}/*"),
            _rule(f"live {other}", "ingress", ["liveliness_token"], f"{ALIVE}/{other}/**"),
            _rule(f"watch {other}", "ingress", everything[3:], f"{ALIVE}/**"),
        ]
        rules += own
        policies.append({"rules": ["out", *(rule["id"] for rule in own)], "subjects": [other]})
    folder = keys.folder
    tls = "transport/link/tls"
    return {
        f"{tls}/enable_mtls": True,
        f"{tls}/verify_name_on_connect": True,
        f"{tls}/close_link_on_expiration": True,
        f"{tls}/root_ca_certificate": str(folder / AUTHORITY),
        f"{tls}/listen_certificate": str(folder / CERTIFICATE),
        f"{tls}/listen_private_key": str(folder / KEY),
        f"{tls}/connect_certificate": str(folder / CERTIFICATE),
        f"{tls}/connect_private_key": str(folder / KEY),
        "access_control": {
            "enabled": True,
            "default_permission": "deny",
            "rules": rules,
            "subjects": [{"id": other, "cert_common_names": [other]} for other in others],
            "policies": policies,
        },
    }


def _rule(name: str, flow: str, messages: list[str], key: str) -> dict[str, Any]:
    return {
        "id": name,
        "permission": "allow",
        "flows": [flow],
        "messages": messages,
        "key_exprs": [key],
    }
