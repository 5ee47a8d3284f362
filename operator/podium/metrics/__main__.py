"""``python -m podium.metrics`` prints the reference of the metrics as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from podium.metrics import reference

print(json.dumps([asdict(family) for family in reference()], indent=1))
