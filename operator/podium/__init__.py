"""Podium: time-to-train benchmarks by the rules of MLPerf Training, on Kubernetes and on one machine."""
