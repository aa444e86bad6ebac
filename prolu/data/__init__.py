"""Activation sources: synthetic, shards, language_model; one protocol, seekable to any batch."""
