"""`podium-benchmarks prepare llama31_8b` on small files of the real layout, up to the trainer that reads them."""

import hashlib
import json
from pathlib import Path

from tests.unit.benchmarks.test_llama import write_indexed
from tests.unit.benchmarks.test_prepare import check_sums, prepare

from podium_benchmarks.llama31_8b import data as llama_data
from podium_benchmarks.prepare import c4

__all__ = ["prepare"]  # the fixture


def write_c4(folder: Path, digests: dict[str, str] | None = None) -> None:
    """Where the data set is, its digests, and tokenized documents in place of the real ones."""
    write_indexed(folder / llama_data.TRAIN, [[n % 200 for n in range(60)]] * 50)
    write_indexed(folder / llama_data.VALIDATION, [[7] * 90] * 20)
    (folder / c4.ARCHIVES[0].name).write_text("https://c4.example/llama31_8b\n")
    lines = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.glob("c4-*")} | (digests or {})
    (folder / c4.ARCHIVES[1].name).write_text("".join(f"{digest}  ./{name}\n" for name, digest in lines.items()))


def test_c4_is_taken_as_it_is_published(prepare, tmp_path, launch, log_lines):
    write_c4(tmp_path / "archives", {"README.md": "0" * 32})
    out, printed = prepare("llama31_8b", c4)
    names = [f"{name}.{ending}" for name in (llama_data.TRAIN, llama_data.VALIDATION) for ending in ("bin", "idx")]
    assert check_sums(out) == [*names, "sources.json"]
    assert f"{names[0]}: 12,000 bytes, verified by md5 of MLCommons" in printed
    urls = {one["name"]: one["url"] for one in json.loads((out / "sources.json").read_text())}
    assert urls[names[0]] == f"https://c4.example/llama31_8b/{names[0]}"
    run = launch("llama31_8b", "--preset", "tiny", "--data", str(out), "--set", "max_sequence_length=20",
                 "--set", "max_steps=21", "--set", "layers=1")  # fmt: skip
    assert run.returncode == 0, run.stderr
    values = {line["key"]: line["value"] for line in log_lines(run.stdout)}
    assert (values["train_samples"], values["eval_samples"]) == (149, 64)


def test_c4_that_is_another_one_is_refused(prepare, tmp_path):
    name = f"{llama_data.TRAIN}.bin"
    write_c4(tmp_path / "archives", {name: "0" * 32})
    _, printed = prepare("llama31_8b", c4, 1)
    assert f"instead of {'0' * 32} (MLCommons (llama-3-1-8b-preprocessed-c4-dataset.md5))" in printed
    (tmp_path / "archives" / c4.ARCHIVES[1].name).write_text(f"{'0' * 32}  ./{name}\n")
    _, printed = prepare("llama31_8b", c4, 1)
    assert f"do not name {llama_data.TRAIN}.idx, {llama_data.VALIDATION}.bin" in printed
