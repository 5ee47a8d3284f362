"""System descriptions of a package, against what MLCommons' tools require of each round."""

from __future__ import annotations

import pytest

from podium.rules import check_system


@pytest.mark.parametrize(
    ("round_", "status", "allowed"),
    [
        ("v3.1", "onprem", True),
        ("v4.0", "onprem", False),
        ("v10.0", "onprem", False),
        ("v4.0", "Available cloud", True),
    ],
)
def test_from_v4_on_the_status_is_one_of_four(round_, status, allowed):
    found = [str(finding.rule) for finding in check_system({"status": status}, "systems/dgx.json", round_)]
    assert ("package.system.status" not in found) is allowed
