"""GNMT: translation by LSTMs with attention."""
