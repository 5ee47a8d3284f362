"""How a run is followed: ``podium watch`` in a cluster, and the screen that ``podium run --local`` shares with it."""
