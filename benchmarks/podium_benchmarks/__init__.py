"""The reference trainers: MLPerf Training models in PyTorch, started by torchrun, logging MLPerf lines."""
