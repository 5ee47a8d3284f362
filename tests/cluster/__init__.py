"""A real Kubernetes for tests, out of package registries alone. ``python -m tests.cluster --help``; docs/testing.md."""
