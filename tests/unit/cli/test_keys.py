"""``podium keygen``, and keys that are not keys."""

from __future__ import annotations

import stat

import pytest

from podium.cli.errors import UsageError
from podium.cli.keys import keygen, signing_key_in
from podium.results.signature import read_public_key, read_signing_key


def test_keygen_writes_a_pair_and_never_replaces_one(tmp_path, capsys):
    folder = tmp_path / "keys"
    keygen(folder)
    assert "podium.key signs results: keep it secret." in capsys.readouterr().out.replace("\n", " ")
    assert stat.S_IMODE((folder / "podium.key").stat().st_mode) == 0o600
    key = read_signing_key(folder / "podium.key")
    public = (folder / "podium.pub").read_bytes()
    assert key.public_pem.encode() == public
    assert read_public_key(public, "podium.pub").keyid
    with pytest.raises(
        UsageError, match=r"podium\.key exists: choose another folder with --out; no key is ever replaced"
    ):
        keygen(folder)
    (folder / "podium.key").unlink()
    with pytest.raises(UsageError, match=r"podium\.pub exists"):
        keygen(folder)
    assert (folder / "podium.pub").read_bytes() == public


def test_keygen_says_where_it_cannot_write(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match=r"--out .*/file is a file: choose a folder"):
        keygen(tmp_path / "file")
    with pytest.raises(
        UsageError, match=r"cannot write .*/file/keys: Not a directory; choose another folder with --out"
    ):
        keygen(tmp_path / "file/keys")


def test_a_signing_key_that_cannot_be_read(tmp_path):
    assert signing_key_in(None, "--signing-key") is None
    with pytest.raises(UsageError, match=r"--signing-key: cannot read .*: No such file"):
        signing_key_in(tmp_path / "podium.key", "--signing-key")
    (tmp_path / "podium.key").write_text("secret")
    with pytest.raises(UsageError, match=r"--signing-key: .* is not a private key"):
        signing_key_in(tmp_path / "podium.key", "--signing-key")
