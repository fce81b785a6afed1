"""Who may ask a service: decided before it begins, and said plainly."""

import re

import pytest

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

from keras_concurrent.errors import KeysError
from keras_concurrent.serve.access import Access, read_token

TOKEN = "0123456789abcdef"


@pytest.fixture
def pem(tmp_path):
    """Files in the place of a certificate and its key."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    for path in (certificate, key):
        path.write_text("x")
        path.chmod(0o600)
    return certificate, key


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_loopback_needs_nothing(host):
    access = Access(host)
    assert access.is_local
    assert access.warning is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1"])
def test_beyond_loopback_a_token_or_tls_is_demanded(host, pem):
    name = re.escape(host) or "every interface"
    message = f"{name} can be reached .*token.*TLS.* or listen on 127.0.0.1"
    with pytest.raises(KeysError, match=message):
        Access(host)
    assert "travel as they are" in Access(host, TOKEN).warning
    assert "whoever reaches the port may ask" in Access(host, None, *pem).warning
    assert Access(host, TOKEN, *pem).warning is None


def test_half_of_what_protects_is_refused(pem):
    certificate, key = pem
    with pytest.raises(KeysError, match="a certificate and its private key, got one of them"):
        Access(certificate=certificate)
    with pytest.raises(KeysError, match=r"at least 16 ASCII characters without spaces.* got 5"):
        Access(token="short")
    key.chmod(0o644)
    with pytest.raises(KeysError, match=r"can be read by others \(mode 644\): chmod 600"):
        Access("0.0.0.0", None, certificate, key)
    with pytest.raises(KeysError, match="is no interface's name or address"):
        Access("no-such-host.invalid")


def test_a_token_is_read_from_a_file_that_is_ones_own(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    with pytest.raises(KeysError, match="can be read by others"):
        read_token(path)
    path.chmod(0o600)
    assert read_token(path) == TOKEN
