"""Autoencoders in the layouts of other libraries, and back. Knows no data, no training and no analysis."""
