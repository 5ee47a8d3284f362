"""Neural collaborative filtering: recommendation from implicit feedback."""
