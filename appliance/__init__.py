"""The chassis: records, wire contract, mTLS channel, settings and errors that every part uses."""
