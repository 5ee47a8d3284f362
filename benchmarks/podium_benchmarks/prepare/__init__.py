"""Prepares the data sets that the trainers read: download, verify, reformat. Untimed by the rules."""
