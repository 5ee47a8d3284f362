"""The signature of a result, and what is no signature."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.dsse import Envelope

from podium.results import ResultWriter
from podium.results.signature import (
    PAYLOAD_TYPE,
    KeyFileError,
    SignatureError,
    new_signing_key,
    read_public_key,
    read_signing_key,
    signed_statement,
)
from podium.stores import open_store
from tests.unit.reconcile import examples as ex
from tests.unit.results.test_writer import put_all

KEY = new_signing_key()
PUBLIC = read_public_key(KEY.public_pem.encode(), "podium.pub")


def test_a_result_is_signed_with_what_it_consists_of(tmp_path):
    writer = ResultWriter(open_store(str(tmp_path)), ex.run(), signer=KEY)
    result = put_all(writer)
    assert result.public_key == KEY.public_pem
    assert (tmp_path / "podium.pub").read_text() == KEY.public_pem
    statement = signed_statement((tmp_path / "statement.dsse.json").read_bytes(), PUBLIC, "statement.dsse.json")
    closed = (tmp_path / "ledger.jsonl").read_bytes()
    assert statement == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": "SHA256SUMS", "digest": {"sha256": result.sha256}},
            {"name": "ledger.jsonl", "digest": {"sha256": hashlib.sha256(closed).hexdigest()}},
        ],
        "predicateType": "https://podium.dev/result/v1",
        "predicate": {
            "run": {"namespace": "lab", "name": "digits", "uid": ex.run().uid},
            "ledgerHead": hashlib.sha256(closed.splitlines(keepends=True)[-1]).hexdigest(),
        },
    }


def test_whoever_signs_again_writes_the_same(tmp_path):
    put_all(ResultWriter(open_store(str(tmp_path)), ex.run(), signer=KEY))
    first = (tmp_path / "statement.dsse.json").read_bytes()
    put_all(ResultWriter(open_store(str(tmp_path)), ex.run(), signer=KEY))
    assert (tmp_path / "statement.dsse.json").read_bytes() == first
    assert "podium.pub" not in (tmp_path / "SHA256SUMS").read_text()


def test_without_a_key_nothing_is_signed(tmp_path):
    assert put_all(ResultWriter(open_store(str(tmp_path)), ex.run())).public_key is None
    assert not {"podium.pub", "statement.dsse.json"} & {file.name for file in tmp_path.iterdir()}


def envelope(**changes):
    made = json.loads(KEY.sign({"SHA256SUMS": "ab"}, {"run": {"name": "digits"}}))
    return json.dumps({**made, **changes}).encode()


PAYLOAD = json.loads(envelope())["payload"]
OTHER = new_signing_key()
OTHER_ID = read_public_key(OTHER.public_pem.encode(), "podium.pub").keyid


def signed(payload):
    """An envelope around any payload."""
    made = Envelope(payload, PAYLOAD_TYPE, {})
    made.sign(KEY._signer)
    return json.dumps(made.to_dict()).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "statement.dsse.json is not valid JSON"),
        (b"[]", "statement.dsse.json is not a DSSE envelope: TypeError"),
        (b"{}", "statement.dsse.json is not a DSSE envelope: KeyError"),
        (
            envelope(signatures=[]),
            f"statement.dsse.json is not signed by {PUBLIC.keyid}, or was changed; it names nobody",
        ),
        (envelope(payload=PAYLOAD.replace("e", "f", 1)), f"not signed by {PUBLIC.keyid}, or was changed"),
        (envelope(payloadType="text/plain"), "holds 'text/plain' instead of application/vnd.in-toto"),
        (
            OTHER.sign({"SHA256SUMS": "ab"}, {"run": {}, "x": 1}),
            f"is not signed by {PUBLIC.keyid}, or was changed; it names {OTHER_ID}",
        ),
        # signed by the key, for something else
        (signed(b"{"), "statement.dsse.json is signed, but not readable: statement.dsse.json is not valid JSON"),
        (signed(b"[]"), "statement.dsse.json is signed, but is not a statement about a result"),
        (
            signed(b'{"predicateType": "https://slsa.dev/provenance/v1"}'),
            "statement.dsse.json is signed, but is not a statement about a result",
        ),
    ],
    ids=itertools.count(),
)
def test_what_is_not_signed(content, message):
    with pytest.raises(SignatureError) as error:
        signed_statement(content, PUBLIC, "statement.dsse.json")
    assert message in str(error.value)


def test_the_order_of_what_is_signed_changes_nothing():
    one = {"ledgerHead": "ab", "run": {"name": "digits", "uid": "1"}}
    other = {"run": {"uid": "1", "name": "digits"}, "ledgerHead": "ab"}
    assert KEY.sign({"SHA256SUMS": "ab"}, one) == KEY.sign({"SHA256SUMS": "ab"}, other)


def test_a_key_of_another_kind_verifies_nothing():
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(KeyFileError, match=r"podium\.pub is not an Ed25519 key; pass the one that podium keygen wrote"):
        read_public_key(pem, "podium.pub")


def test_keys_are_those_of_openssl(tmp_path):
    """Its Ed25519 keys can be used, and it verifies what they sign."""
    private, public = tmp_path / "podium.key", tmp_path / "podium.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    key = read_signing_key(private)
    assert key.public_pem == public.read_text()
    made = json.loads(key.sign({"SHA256SUMS": "ab"}, {"run": {}, "x": 1}))
    payload = base64.b64decode(made["payload"])
    signed, signature = tmp_path / "signed", tmp_path / "signature"
    signed.write_bytes(f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode() + payload)
    signature.write_bytes(base64.b64decode(made["signatures"][0]["sig"]))
    verify = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        public,
        "-rawin",
        "-in",
        signed,
        "-sigfile",
        signature,
    ]
    assert "Success" in subprocess.run(verify, check=True, capture_output=True, text=True).stdout


def test_what_is_not_a_key(tmp_path):
    file = tmp_path / "podium.key"
    file.write_text("secret")
    with pytest.raises(
        KeyFileError, match=r"podium\.key is not a private key without a passphrase; make one with podium keygen"
    ):
        read_signing_key(file)
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", file], check=True)
    with pytest.raises(KeyFileError, match=r"podium\.key is not an Ed25519 key; make one with podium keygen"):
        read_signing_key(file)
    with pytest.raises(KeyFileError, match=r"podium\.pub is not a public key; pass the one that podium keygen wrote"):
        read_public_key(b"secret", "podium.pub")
