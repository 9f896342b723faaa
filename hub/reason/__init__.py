"""Reason: from a finding to a proposed plan; a deterministic diagnosis first, a model second."""
