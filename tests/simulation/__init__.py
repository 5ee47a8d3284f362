"""A simulated cluster in which the real operator runs, and everything that can fail does (docs/how-to/simulation.md)."""
