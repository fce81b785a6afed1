"""Who may take part: an authority, and a certificate for each board and the client.

::

    keys/
      authority.pem        the authority's certificate
      authority.key.pem    its key: it stays where `make_keys` ran, no board needs it
      pi1/                 what is copied to pi1
        authority.pem
        certificate.pem
        key.pem
      client/              the same for the client

Within the loopback interface boards may speak plain TCP. Every other endpoint demands mutual TLS:
both ends show a certificate of the same authority, and what a participant may send is bound to the
name in its certificate (see `keras_concurrent.edge.link.zenoh_channel` and, for direct links,
`keras_concurrent.edge.link.meeting`).
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.errors import KeysError, MissingExtraError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

AUTHORITY = "authority.pem"
CERTIFICATE = "certificate.pem"
KEY = "key.pem"
_AUTHORITY_KEY = "authority.key.pem"
_YEARS = 10
_YEAR = datetime.timedelta(days=365)
_ENDPOINT = re.compile(r"(?P<protocol>[a-z]+)/\[?(?P<host>.*?)\]?:(?P<port>\d+)")


@dataclass(frozen=True)
class Keys:
    """A participant's folder of keys.

    Args:
        folder: holds ``authority.pem``, ``certificate.pem`` and ``key.pem``.

    Raises:
        KeysError: one of them is missing, or others may read the key.
    """

    folder: Path

    def __post_init__(self) -> None:
        for name in (AUTHORITY, CERTIFICATE, KEY):
            if not (self.folder / name).is_file():
                raise KeysError(
                    f"{self.folder} lacks {name}; 'keras-concurrent keys' makes a folder for each "
                    "board and the client"
                )
        mode = (self.folder / KEY).stat().st_mode & 0o777
        if mode & 0o077:
            raise KeysError(
                f"{self.folder / KEY} can be read by others (mode {mode:o}): chmod 600 it"
            )


def protocol_and_host(endpoint: str) -> tuple[str, str]:
    """The parts of an endpoint such as ``tls/192.168.1.11:7447``."""
    parts = _ENDPOINT.fullmatch(endpoint)
    if parts is None:  # a Cluster has checked it
        raise ValueError(f"an endpoint must look like 'tls/192.168.1.11:7447', got {endpoint!r}")
    return parts["protocol"], parts["host"]


def needs_keys(cluster: Cluster) -> bool:
    """Whether the participants must show certificates.

    Raises:
        KeysError: an endpoint that others can reach is not ``tls``, or only some are.
    """
    protocols = set()
    for board in cluster.boards:
        protocol, host = protocol_and_host(board.endpoint)
        protocols.add(protocol)
        if protocol != "tls" and not (protocol == "tcp" and _is_loopback(host)):
            raise KeysError(
                f"{board.name} would listen unprotected on {board.endpoint}: beyond loopback an "
                f"endpoint must be tls/{host}:..., with keys made by 'keras-concurrent keys'"
            )
    if protocols == {"tcp", "tls"}:
        raise KeysError("all endpoints must be tls/... where one is, got tcp/... as well")
    return "tls" in protocols


def keys_of(name: str, cluster: Cluster, folder: Path | None) -> Keys | None:
    """A participant's keys, where its cluster needs them.

    Args:
        name: a board, or the client.
        cluster: says where boards listen.
        folder: the participant's own, or that of `make_keys`, which holds the participant's.

    Raises:
        KeysError: an unprotected endpoint, or keys that are missing.
    """
    if not needs_keys(cluster):
        return None
    if folder is None:
        raise KeysError(
            f"{name} needs keys for {cluster.boards[0].endpoint}: give the folder that "
            "'keras-concurrent keys' made"
        )
    return Keys((folder / name if (folder / name).is_dir() else folder).absolute())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def make_keys(cluster: Cluster, folder: Path) -> list[Path]:
    """Make what is missing: the authority, and a folder for each board and the client.

    A folder that is there is kept, so that a board can be added to a cluster.

    Args:
        cluster: whose boards; a certificate holds its board's address.
        folder: where to write.

    Returns:
        The folders that were made.

    Raises:
        KeysError: the authority's key is gone, so that no certificate can be added.
        MissingExtraError: cryptography is not installed.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise MissingExtraError("cryptography", "keys") from error
    folder.mkdir(parents=True, exist_ok=True)
    authority_file, key_file = folder / AUTHORITY, folder / _AUTHORITY_KEY
    if authority_file.is_file():
        if not key_file.is_file():
            raise KeysError(
                f"{folder} has {AUTHORITY} but not {_AUTHORITY_KEY}, which signs certificates; "
                "give another folder to begin anew"
            )
        signer = serialization.load_pem_private_key(key_file.read_bytes(), None)
        authority = x509.load_pem_x509_certificate(authority_file.read_bytes())
    else:
        signer, authority = _make_authority()
        _write_key(key_file, signer)
        authority_file.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    made = []
    hosts = {board.name: protocol_and_host(board.endpoint)[1] for board in cluster.boards}
    for name, host in {**hosts, CLIENT: ""}.items():
        own = folder / name
        if own.exists():
            continue
        key, certificate = _make_certificate(name, host, signer, authority)  # type: ignore[arg-type] # our own key
        beside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder))
        try:
            beside.chmod(0o755)
            _write_key(beside / KEY, key)
            for file, content in ((CERTIFICATE, certificate), (AUTHORITY, authority)):
                (beside / file).write_bytes(content.public_bytes(serialization.Encoding.PEM))
            beside.rename(own)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        made.append(own)
    return made


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    from cryptography.hazmat.primitives import serialization

    content = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _make_authority() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("keras_concurrent authority")
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = _builder(name, name, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return key, _sign(builder.add_extension(usage, critical=True), key)


def _make_certificate(
    name: str, host: str, signer: ec.EllipticCurvePrivateKey, authority: x509.Certificate
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """A key and its certificate; ``host`` is empty for who does not listen."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(name), authority.subject, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if host:
        uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
        try:
            address: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            address = x509.DNSName(host)
        alternative = x509.SubjectAlternativeName([address])
        builder = builder.add_extension(alternative, critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    return key, _sign(builder, signer)


def _name(common_name: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    from cryptography import x509

    # A board that was off for long may start with a clock that is days behind.
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _YEAR)
        .not_valid_after(now + _YEARS * _YEAR)
    )


def _sign(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    from cryptography.hazmat.primitives import hashes

    return builder.sign(key, hashes.SHA256())
