"""Everything, before it matters: the only room that speaks to PostgreSQL."""
