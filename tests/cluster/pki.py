"""Certificates and kubeconfigs of a throw-away cluster; they last a year."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests.cluster.processes import sh


class Pki:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)

    def path(self, name: str) -> Path:
        return self.folder / name

    def certificate(self, name: str, subject: str, san: str = "", usage: str = "clientAuth") -> None:
        """``<name>.crt`` and ``.key``, signed by ``ca`` (which signs itself), unless they exist."""
        crt, key = self.path(f"{name}.crt"), self.path(f"{name}.key")
        if crt.exists():
            return
        authority = name == "ca"
        lines = ["[req]", "distinguished_name=dn", "prompt=no", "x509_extensions=ext", "[dn]", *subject.split(",")]
        lines += ["[ext]", f"basicConstraints=critical,CA:{'TRUE' if authority else 'FALSE'}"]
        lines += (
            ["keyUsage=critical,keyCertSign,cRLSign,digitalSignature"]
            if authority
            else ["keyUsage=critical,digitalSignature", f"extendedKeyUsage={usage}"]
        )
        # Python 3.13 and later reject chains without these identifiers of RFC 5280
        lines += ["subjectKeyIdentifier=hash"] + ([] if authority else ["authorityKeyIdentifier=keyid"])
        lines += [f"subjectAltName={san}"] if san else []
        signer = [] if authority else ["-CA", self.path("ca.crt"), "-CAkey", self.path("ca.key")]
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365"]
        command = ["openssl", "req", "-x509", *curve, "-config", "/dev/stdin", *signer, "-keyout", key, "-out", crt]
        sh(*command, input="\n".join(lines) + "\n")

    def service_account_key(self) -> None:
        """``sa.key`` and ``sa.pub``: the API server rejects a PKCS#8 EC private key for verifying."""
        key = self.path("sa.key")
        if not key.exists():
            sh("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
            sh("openssl", "pkey", "-in", key, "-pubout", "-out", self.path("sa.pub"))

    def kubeconfig(self, path: Path, name: str, server: str, token: str = "") -> None:
        """A kubeconfig for the bearer of `token`, else the holder of certificate `name`; its context: podium-test."""

        def encoded(file: str) -> str:
            return base64.b64encode(self.path(file).read_bytes()).decode()

        cluster = {"server": server, "certificate-authority-data": encoded("ca.crt")}
        user = {"token": token} if token else {
            "client-certificate-data": encoded(f"{name}.crt"),
            "client-key-data": encoded(f"{name}.key"),
        }  # fmt: skip
        document = {  # JSON is YAML
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "podium-test",
            "clusters": [{"name": "podium-test", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "podium-test", "context": {"cluster": "podium-test", "user": name}}],
        }
        path.write_text(json.dumps(document, indent=1))
        path.chmod(0o600)
