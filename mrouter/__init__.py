"""Mobile router with several care-of addresses, flow policies and bicast."""

__version__ = "0.1.0"
