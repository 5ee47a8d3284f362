"""Transformer: translation by attention alone."""
