"""Follow a run: ``podium watch`` in a cluster, and the screen that it shares with ``podium run --local``."""
