"""The chassis: records, wire contract, mTLS channel, settings and errors that every part uses."""

__version__ = "0.1.0"
