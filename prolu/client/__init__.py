"""The client side: wire formats, the Python client and the `prolu` command. Torch-free."""
