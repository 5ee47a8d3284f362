"""What a spec takes and what it does not, beyond what the CRD's own tests show."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import ValidationError

from podium.api.affinity import Affinity
from podium.api.spec import QUANTITY
from podium.reconcile import read_run


@pytest.mark.parametrize(
    "text",
    ["64Gi", "65536Ki", "1.5", "5.", ".5", "100m", "100u", "5n", "1e9", "1E3", "1e-3", "3k", "2M", "1E", "+1", "0"],
)
def test_quantities_of_kubernetes(text):
    assert re.search(QUANTITY, text)


@pytest.mark.parametrize(
    "text", ["64ki", "1K", "1mi", "", ".", "1 Gi", "-1", "1Gii", "1e", "1e999", "Gi", "0x10", "1\n"]
)
def test_other_texts_are_no_quantities(text):
    assert not re.fullmatch(QUANTITY.replace("$", ""), text)


@pytest.mark.parametrize("field", ["namespaces", "namespaceSelector"])
def test_affinity_ends_at_the_namespace(field):
    term = {"topologyKey": "zone", "labelSelector": {}}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    assert Affinity.model_validate({"podAntiAffinity": {required: [term]}})
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Affinity.model_validate({"podAntiAffinity": {required: [{**term, field: {}}]}})


@pytest.mark.parametrize(("size", "refused"), [(65_536, False), (65_537, True)])
def test_a_spec_has_at_most_64_kib(size, refused):
    spec = {"round": "v0.6", "benchmark": "resnet", "system": {"name": "lab", "nodes": 1}, "template": {"command": []}}
    metadata = {"namespace": "lab", "name": "a", "uid": "u", "generation": 1}
    bare = len(json.dumps(spec, separators=(",", ":")))
    left, words = size - bare, []
    while left > 0:
        word = "x" * min(4000, left - 3 if words else left - 2)
        words.append(word)
        left -= len(word) + (3 if len(words) > 1 else 2)
    spec["template"]["command"] = words
    assert len(json.dumps(spec, separators=(",", ":"))) == size
    run = read_run({"metadata": metadata, "spec": spec})
    assert run.refusal.startswith("spec: ") is refused, run.refusal
