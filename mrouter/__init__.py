"""Mobile router with several care-of addresses, flow policies and bicast."""

from mrouter import slim_pyroute2 as slim_pyroute2  # before anything imports pyroute2

__version__ = "0.1.0"
