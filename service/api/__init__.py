"""The HTTP face: thin routers, one per resource. Knows no SQL; `service.store` does the work."""
