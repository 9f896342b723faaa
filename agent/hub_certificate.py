"""Look at the hub's certificate before the stream: is it the hub's, strong, and not revoked?

gRPC checks the chain and the DNS name, which the console on the same host has, too. So we make one
handshake of our own first, check the rest, and let the stream believe only what was looked at.
"""

import logging
import socket
import ssl
from pathlib import Path

from appliance.channel import Identity
from appliance.errors import IdentityError

HUB_URI = "spiffe://sentinel/hub"
WITHIN_S = 10.0

log = logging.getLogger(__name__)


def look(
    hub: str, name: str, identity: Identity, crl: Path | None = None, *, required: bool = False
) -> bytes:
    """The hub's own certificate in PEM; raises `IdentityError`, in words for an administrator.

    A list that is too old does not speak; unless one is `required` the hub is looked at without.
    """
    try:
        return _look(hub, name, _context(identity, crl, required=required))
    except ssl.SSLCertVerificationError as error:
        if required or error.verify_code not in _NO_LIST:
            raise IdentityError(_sentence(error)) from error
        log.warning("the revocation list kept here is too old: %s", error.verify_message)
    try:
        return _look(hub, name, _context(identity, None, required=False))
    except ssl.SSLCertVerificationError as error:
        raise IdentityError(_sentence(error)) from error


def _look(hub: str, name: str, context: ssl.SSLContext) -> bytes:
    # 1. TLS 1.3, and the chain ends at our root   3. it is for servers, its key is strong
    # 2. it carries the DNS name                   4. it is not on the list   5. it is the hub's
    host, _, port = hub.rpartition(":")
    try:
        with (
            socket.create_connection((host, int(port)), timeout=WITHIN_S) as plain,
            context.wrap_socket(plain, server_hostname=name or host) as peer,  # 1, 2, 3, 4
        ):
            found = peer.getpeercert() or {}
            leaf = peer.getpeercert(binary_form=True) or b""
    except ssl.SSLCertVerificationError:
        raise
    except ssl.SSLError as error:
        raise IdentityError(f"the TLS handshake failed: {error.reason or error}") from error
    except ConnectionRefusedError as error:
        raise IdentityError("nothing listens there") from error
    except socket.gaierror as error:
        raise IdentityError("its name cannot be resolved") from error
    except OSError as error:
        raise IdentityError(f"cannot be reached: {error.strerror or error}") from error
    names = [str(one[1]) for one in found.get("subjectAltName", ()) if one[0] == "URI"]
    if names != [HUB_URI]:  # 5
        raise IdentityError(f"what answers is {names or 'nobody by name'}, expected {HUB_URI}")
    return ssl.DER_cert_to_PEM_cert(leaf).encode("ascii")


def _context(identity: Identity, crl: Path | None, *, required: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # demands a certificate and the host's name
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    context.set_ciphers("DEFAULT:@SECLEVEL=2")  # RSA from 2048 bits, curves from 224, no SHA-1
    try:
        context.load_verify_locations(identity.ca)
        context.load_cert_chain(identity.certificate, identity.key)
        if crl is not None and (required or crl.exists()):
            context.load_verify_locations(crl)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or error
        raise IdentityError(
            f"{identity.certificate}, {identity.key}: cannot read: {reason}"
        ) from error
    return context


_NO_LIST = frozenset({3, 11, 12})  # X509_V_ERR: no CRL, CRL not yet valid, CRL has expired
_SENTENCES = (  # OpenSSL's words → what an administrator can act upon
    ("CRL", "the revocation list that is kept here does not speak for the hub's certificate"),
    ("has expired", "the hub's certificate has expired"),
    ("not yet valid", "the hub's certificate is not valid yet; is the clock right?"),
    ("revoked", "the hub's certificate was revoked"),
    ("mismatch", "the hub's certificate is for another name than hub_name or hub say"),
    ("key too small", "the hub's certificate has a key that is too weak"),
    ("too weak", "the hub's certificate has a key or a signature that is too weak"),
    ("purpose", "the certificate of what answers is not for servers"),
    ("local issuer", "the hub's certificate is from another CA than identity.ca"),
    ("self-signed", "the hub's certificate is from another CA than identity.ca"),
    ("self signed", "the hub's certificate is from another CA than identity.ca"),
)


def _sentence(error: ssl.SSLCertVerificationError) -> str:
    words = error.verify_message or str(error)
    for mark, sentence in _SENTENCES:
        if mark in words:
            return sentence
    return f"the hub's certificate does not verify under identity.ca: {words}"
