-- The audit log's index answers: who, which node, which type, when; a long log is not read through.
-- depends: 0008.in_force

-- Every name that stands as "node" in an entry. The line is canonical JSON, so a quote inside a
-- text is escaped and no text can look like such a field. A cast to jsonb would be simpler, and
-- would let a NUL in a host's text stop the notary.
CREATE FUNCTION audit_nodes(line text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(DISTINCT found[1]), '{}')
    FROM regexp_matches(line, '"node":"([^"\\]{1,255})"', 'g') AS found
$$;

CREATE INDEX audit_entry_type ON audit_entry (type, seq);
CREATE INDEX audit_entry_who ON audit_entry (split_part(actor, ' ', 2), seq);
CREATE INDEX audit_entry_ts ON audit_entry (ts);
CREATE INDEX audit_entry_nodes ON audit_entry USING gin (audit_nodes(line));
