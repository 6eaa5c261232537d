"""Egress links: what netlink says of them."""
