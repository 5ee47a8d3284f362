"""The first commands of a newcomer: what make says about a machine that lacks something."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.cluster.fixtures import ROOT

# An interpreter of an older version: what it runs sees that version
OLD = f"""#!{sys.executable}
import sys
sys.version_info, sys.executable = (3, 10, 13), "/usr/bin/python3.10"
exec(sys.argv[2])
"""
NO_VENV = f"""#!{sys.executable}
import sys
sys.modules["ensurepip"] = None
exec(sys.argv[2])
"""
TOO_OLD = "Podium needs Python 3.11 or newer; found 3.10 at /usr/bin/python3.10; set PYTHON=\n"


@pytest.fixture
def make(tmp_path):
    """Runs make in a folder with nothing but the Makefile and what it depends on."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for file in ("requirements.lock", "operator/pyproject.toml", "benchmarks/pyproject.toml"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()

    def run(*words, program="", uv=False):
        folder = tmp_path / "bin"
        folder.mkdir()
        if program:
            (folder / "python3.10").write_text(program)
            (folder / "python3.10").chmod(0o755)
        if uv:
            (folder / "uv").write_text("#!/bin/sh\necho uv $*\n")
            (folder / "uv").chmod(0o755)
        environment = {"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(tmp_path), "PYTHON": "python3.10"}
        return subprocess.run(
            ["make", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.parametrize("uv", [False, True], ids=["without uv", "with uv"])
@pytest.mark.parametrize("target", ["demo", "test", "e2e", "images"])
def test_an_old_python_gets_one_sentence(make, tmp_path, target, uv):
    done = make(target, program=OLD, uv=uv)
    assert done.returncode == 2
    assert done.stderr.startswith(TOO_OLD)
    assert len(done.stderr.splitlines()) == 2  # make's own line is the other one
    assert "uv" not in done.stdout
    assert not (tmp_path / ".uv").exists()


def test_a_python_that_is_not_there_gets_one_sentence(make):
    done = make("demo")
    assert done.stderr.startswith("Podium needs Python 3.11 or newer; python3.10 is not on PATH; set PYTHON=\n")


def test_a_python_without_venv_gets_one_sentence(make, tmp_path):
    done = make("demo", program=NO_VENV)
    assert done.stderr.startswith(
        "python3.10 cannot create virtual environments: install venv (Debian: apt-get install"
    )
    assert not (tmp_path / ".uv").exists()


def test_the_installation_says_beforehand_how_much_comes_where(make, tmp_path):
    new_enough = OLD.replace("3, 10, 13", "3, 11, 0")
    said = make("install", program=new_enough, uv=True).stdout
    first, *later = (line for line in said.splitlines() if not line.startswith("make"))
    assert first == f"installing Podium's packages into {tmp_path}/.venv: about 6 GB, most of it PyTorch and CUDA"
    [sync] = [line for line in later if line.startswith("uv pip sync")]
    assert "--quiet" not in sync  # uv shows its progress


def test_images_by_hand_with_an_old_python_get_one_sentence(tmp_path):
    old = tmp_path / "old.py"
    old.write_text(f"import sys\nsys.version_info, sys.executable = (3, 10, 13), '/usr/bin/python3.10'\nsys.modules['tomllib'] = None\n"
                   f"exec(compile(open({str(ROOT / 'images/build.py')!r}).read(), 'build.py', 'exec'))\n")  # fmt: skip
    done = subprocess.run([sys.executable, old], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == TOO_OLD.replace("; set PYTHON=", "")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no clone")
@pytest.mark.parametrize("targets", ["help", "help nonesuch"])
def test_cold_runs_in_a_clone_with_empty_caches_and_removes_it_after_a_success(tmp_path, targets):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment["TMPDIR"] = str(tmp_path)
    command = ["make", "cold", f"COLD_TARGETS={targets}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    kept = list(tmp_path.glob("podium-cold-*"))
    if targets == "help":
        assert done.returncode == 0, done.stderr
        assert kept == []
        assert done.stdout.splitlines()[-1].startswith("make cold: all: ")
    else:
        [folder] = kept
        assert "make cold: make nonesuch failed after " in done.stderr
        assert f" s; the clone and its caches stay in {folder}\n" in done.stderr
