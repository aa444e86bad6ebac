"""How nodes are named: `address/id`. Ray gives a machine another id each time that it starts there."""


def address_of(node: str) -> str:
    """The machine of a node."""
    return node.partition("/")[0]
