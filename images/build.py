"""Build the images with docker, podman or buildah: `make images`; `python images/build.py --help` lists the options.

Each image becomes PREFIX/podium-<image>:<tag>; its bill of materials is written to build/images/. The registry
that pip is configured for is used inside the build too; its configuration is mounted, and stays out of the layers.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

try:
    import tomllib  # since 3.11
except ModuleNotFoundError:
    found = f"{sys.version_info[0]}.{sys.version_info[1]} at {sys.executable}"
    sys.exit(f"Podium needs Python 3.11 or newer; found {found}")

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("docker", "podman", "buildah")
PACKAGES = {"operator": "operator", "trainer": "benchmarks"}  # image -> folder of the package in it


@dataclass(frozen=True)
class Options:
    """Options for all images of one call. `epoch` is in seconds since 1970; a `base` of None is the Containerfile's."""

    tool: str
    prefix: str
    tag: str
    base: str | None
    revision: str
    source: str
    epoch: int
    secrets: tuple[str, ...]

    def name(self, image: str) -> str:
        return f"{self.prefix}podium-{image}:{self.tag}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="images/build.py", description=__doc__.partition("\n")[0])
    parser.add_argument("images", nargs="*", default=list(PACKAGES), help="operator, trainer; default: both")
    parser.add_argument("--tool", default="", help="docker, podman or buildah; default: the first one found")
    parser.add_argument(
        "--prefix", default="", help="registry and path in front of the names, such as registry.example/team"
    )
    parser.add_argument("--tag", default="", help="default: the version of the package")
    parser.add_argument("--base", default="", help="image with Python and venv; default: the Containerfile's")
    parser.add_argument(
        "--pip-conf", default="", help="pip's configuration for the build; default: the one that pip uses here"
    )
    parser.add_argument("--ca", default="", help="certificates for pip to trust in the build; default: $PIP_CERT")
    parser.add_argument("--push", action="store_true", help="push to the registry")
    given = parser.parse_args()
    if unknown := set(given.images) - set(PACKAGES):
        parser.error(f"no such image: {', '.join(sorted(unknown))}; choose from {', '.join(PACKAGES)}")
    for image in given.images:
        options = options_for(image, given)
        build(image, options)
        if given.push:
            run(options.tool, "push", options.name(image))


def options_for(image: str, given: argparse.Namespace) -> Options:
    """The given options; missing ones follow from the checkout."""
    project = tomllib.loads((ROOT / PACKAGES[image] / "pyproject.toml").read_text())["project"]
    return Options(
        tool=given.tool or _found_tool(),
        prefix=f"{given.prefix.rstrip('/')}/" if given.prefix else "",
        tag=given.tag or project["version"],
        base=given.base or None,
        revision=_git("rev-parse", "HEAD") or "unknown",
        source=_public(_git("remote", "get-url", "origin")),
        epoch=int(os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct") or 0),
        secrets=_secrets(given.pip_conf, given.ca),
    )


def build(image: str, options: Options) -> None:
    """Build an image, and write its bill of materials to build/images/podium-<image>.cdx.json."""
    run(*build_command(image, options), "--tag", options.name(image), ".")
    folder = ROOT / "build" / "images" / image
    run(*build_command(image, options), "--target", "sbom", "--output", f"type=local,dest={folder}", ".")
    bill = folder.parent / f"podium-{image}.cdx.json"
    (folder / "sbom.cdx.json").replace(bill)
    folder.rmdir()
    print(f"{options.name(image)}; bill of materials: {bill.relative_to(ROOT)}")


def build_command(image: str, options: Options) -> list[str]:
    """The tool's command without its outputs. A second call finds all layers of the first in the cache."""
    command = [options.tool, "build", "--file", f"images/{image}/Containerfile"]
    values = {"BASE": options.base, "REVISION": options.revision, "SOURCE": options.source, "VERSION": options.tag}
    values["SOURCE_DATE_EPOCH"] = str(options.epoch)
    command += [f"--build-arg={name}={value}" for name, value in values.items() if value is not None]
    command += [f"--secret={secret}" for secret in options.secrets]
    if options.tool != "docker":  # docker takes the time from the build argument
        command += ["--layers", "--timestamp", str(options.epoch)]
    return command


def run(*command: str) -> None:
    """Print and run a command; exit if it fails."""
    print(f"+ {shlex.join(command)}", file=sys.stderr, flush=True)
    if code := subprocess.run(command, cwd=ROOT, check=False).returncode:
        sys.exit(code)


def _found_tool() -> str:
    """The first tool that works; docker does not work without its daemon."""
    for tool in TOOLS:
        if shutil.which(tool) and subprocess.run([tool, "info"], capture_output=True, check=False).returncode == 0:
            return tool
    sys.exit(f"none of {', '.join(TOOLS)} works here: install one (Debian: apt-get install buildah), or start docker")


def _secrets(pip_conf: str, ca: str) -> tuple[str, ...]:
    """Build secrets: pip's configuration, and the certificates that it trusts on this machine."""
    usual = [os.environ.get("PIP_CONFIG_FILE", ""), str(Path.home() / ".config/pip/pip.conf"), "/etc/pip.conf"]
    conf = pip_conf or next((file for file in usual if file and Path(file).is_file()), "")
    files = {"pip.conf": conf, "ca.crt": ca or os.environ.get("PIP_CERT", "")}
    return tuple(f"id={name},src={file}" for name, file in files.items() if file)


def _git(*words: str) -> str:
    """The output of a git command in this checkout; empty outside a clone."""
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _public(address: str) -> str:
    """The repository's public address; empty if it is a local path or contains a password."""
    return address if address.startswith("https://") and "@" not in address else "unknown"


if __name__ == "__main__":
    main()
