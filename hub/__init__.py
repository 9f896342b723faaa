"""The hub: takes events from agents, reasons, judges, asks a person, and releases signed orders."""
