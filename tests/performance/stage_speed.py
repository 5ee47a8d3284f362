"""MB/s of `podium stage` beside a plain boto3 loop, from versitygw on this machine: many small files, and one large.

Both as processes of their own, in turn; the median of three. Server, reader and disk share the machine's cores.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.cluster import parts

SMALL, SMALL_BYTES = 2000, 100_000
LARGE_BYTES = 400 << 20
ROUNDS = 3
PLAIN = """
import os, sys, boto3
endpoint, prefix, target = sys.argv[1:]
client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
for page in client.get_paginator("list_objects_v2").paginate(Bucket="datasets", Prefix=prefix):
    for entry in page["Contents"]:
        path = os.path.join(target, entry["Key"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        client.download_file("datasets", entry["Key"], path)
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="stage-speed-") as name:
        folder = Path(name)
        parts.DISK_BYTES = 2 * (LARGE_BYTES + SMALL * SMALL_BYTES)
        server = parts.S3(folder / "s3")
        server.start()
        os.environ |= server.environment
        try:
            url = server.bucket("datasets")
            fill(server)
            for what, size in (("small", SMALL * SMALL_BYTES), ("large", LARGE_BYTES)):
                measure(what, size, url, server, folder / "target")
        finally:
            server.remove()


def fill(server: parts.S3) -> None:
    client = server.client()
    for number in range(SMALL):
        client.put_object(Bucket="datasets", Key=f"small/{number % 100}/{number}", Body=os.urandom(SMALL_BYTES))
    file = server.folder / "large"
    with file.open("wb") as out:
        for _ in range(LARGE_BYTES >> 20):
            out.write(os.urandom(1 << 20))
    client.upload_file(str(file), "datasets", "large/one.tar")
    file.unlink()


def measure(what: str, size: int, url: str, server: parts.S3, target: Path) -> None:
    where = ["--endpoint", server.endpoint, "--region", parts.REGION]
    stage = [sys.executable, "-m", "podium", "stage", f"{url}/{what}", str(target), *where]
    plain = [sys.executable, "-c", PLAIN, server.endpoint, f"{what}/", str(target)]
    seconds: dict[str, list[float]] = {"plain": [], "stage": [], "stage, warm": []}
    for _ in range(ROUNDS):
        for name, command in (("plain", plain), ("stage", stage)):
            shutil.rmtree(target, ignore_errors=True)
            seconds[name].append(
                timed(lambda command=command: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
            )
        seconds["stage, warm"].append(timed(lambda: subprocess.run(stage, check=True, stdout=subprocess.DEVNULL)))
    for name, all_ in seconds.items():
        middle = statistics.median(all_)
        spread = f"{min(all_):.1f} to {max(all_):.1f}"
        print(f"{what:6} {name:12} {middle:6.1f} s ({spread})  {size / middle / 1e6:7.1f} MB/s", flush=True)


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
