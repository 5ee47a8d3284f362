"""Podium: time-to-train benchmarks under MLPerf Training rules, on Kubernetes and on one machine."""
