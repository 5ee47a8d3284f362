"""MiniGo: a network learns Go by playing against itself."""
