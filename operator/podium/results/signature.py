"""The administrator's signature of a result: an in-toto statement about SHA256SUMS and ledger.jsonl in a DSSE envelope.

The key is Ed25519, whose signatures are deterministic: whoever signs a result again writes the same bytes. The
libraries take 40 MB, so this module is imported only where something is signed or verified.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from google.protobuf.json_format import MessageToDict
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from podium.documents import DocumentError, read_json

PAYLOAD_TYPE = "application/vnd.in-toto+json"
PREDICATE_TYPE = "https://podium.dev/result/v1"

PublicKey = SSlibKey  # which verifies results; `keyid` names it


class KeyFileError(ValueError):
    """A file does not hold the key that is wanted; the message says what it must hold."""


class SignatureError(ValueError):
    """An envelope is not signed by the key; the message says why."""


class SigningKey:
    """The key that signs results."""

    def __init__(self, signer: CryptoSigner) -> None:
        self._signer = signer
        key: Any = load_pem_private_key(signer.private_bytes, None).public_key()
        self.public_pem = _pem(key)

    @property
    def private_pem(self) -> bytes:
        """The key itself, as PKCS #8."""
        return self._signer.private_bytes

    def sign(self, digests: Mapping[str, str], predicate: Mapping[str, Any]) -> bytes:
        """Return the envelope of a statement about files with these SHA-256 digests."""
        subjects = [ResourceDescriptor(name=name, digest={"sha256": sha256}).pb for name, sha256 in digests.items()]
        statement = Statement(subjects, PREDICATE_TYPE, dict(predicate))
        statement.validate()
        payload = json.dumps(MessageToDict(statement.pb), sort_keys=True).encode()
        envelope = Envelope(payload, PAYLOAD_TYPE, {})
        envelope.sign(self._signer)
        return _written(envelope)


def _pem(key: Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _written(envelope: Envelope) -> bytes:
    return (json.dumps(envelope.to_dict(), indent=2) + "\n").encode()


def new_signing_key() -> SigningKey:
    return SigningKey(CryptoSigner.generate_ed25519())


def read_signing_key(path: Path) -> SigningKey:
    """Read a private key. Raises OSError and KeyFileError."""
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path} is not a private key without a passphrase; make one with podium keygen") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} is not an Ed25519 key; make one with podium keygen")
    return SigningKey(CryptoSigner(key))


def read_public_key(content: bytes, where: str) -> PublicKey:
    """Read a public key in PEM. Raises KeyFileError."""
    try:
        key = load_pem_public_key(content)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # also UnicodeDecodeError
        raise KeyFileError(f"{where} is not a public key; pass the one that podium keygen wrote") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{where} is not an Ed25519 key; pass the one that podium keygen wrote")
    return SSlibKey.from_crypto(key)


def public_pem(key: PublicKey) -> bytes:
    """Return podium.pub as it is stored beside a result."""
    return _pem(Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.keyval["public"]))).encode()


def signed_statement(envelope: bytes, key: PublicKey, where: str) -> Mapping[str, Any]:
    """Return the statement in an envelope that `key` has signed. Raises SignatureError."""
    try:
        read = Envelope.from_dict(read_json(envelope, where))
    except DocumentError as error:
        raise SignatureError(str(error)) from error
    except Exception as error:
        raise SignatureError(f"{where} is not a DSSE envelope: {type(error).__name__}: {error}") from error
    if read.payload_type != PAYLOAD_TYPE:
        raise SignatureError(f"{where} holds {read.payload_type!r} instead of {PAYLOAD_TYPE}")
    try:
        read.verify([key], 1)
    except VerificationError as error:
        signers = ", ".join(read.signatures) or "nobody"
        raise SignatureError(f"{where} is not signed by {key.keyid}, or was changed; it names {signers}") from error
    try:
        statement = read_json(read.payload, where)
    except DocumentError as error:
        raise SignatureError(f"{where} is signed, but not readable: {error}") from error
    if not isinstance(statement, dict) or statement.get("predicateType") != PREDICATE_TYPE:
        raise SignatureError(f"{where} is signed, but is not a statement about a result")
    if envelope != _written(read):  # whitespace, or fields that nobody signed
        raise SignatureError(f"{where} was changed after it was signed, but not what it says")
    return statement
