-- The audit log's index answers: who, which node, which type, when; a long log is not read through.
-- depends: 0008.in_force

-- Every name that stands as "node" in an entry. The line is canonical JSON, so a quote inside a
-- text is escaped and no text can look like such a field. It cannot fail, for then the notary would
-- stop: nothing is cast, and a name too long for an index is left out. No regular expression, which
-- takes five times as long for every entry.
CREATE FUNCTION audit_nodes(line text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    parts text[];
    one text;
    found text[] := '{}';
BEGIN
    IF position('"node":"' IN line) = 0 THEN RETURN found; END IF;
    parts := string_to_array(line, '"node":"');
    FOR number IN 2..array_length(parts, 1) LOOP
        one := split_part(parts[number], '"', 1);
        IF length(one) BETWEEN 1 AND 255 AND NOT one = ANY (found) THEN found := found || one; END IF;
    END LOOP;
    RETURN found;
END $$;

ALTER TABLE audit_entry
    ADD COLUMN nodes text[] NOT NULL GENERATED ALWAYS AS (audit_nodes(line)) STORED;

CREATE INDEX audit_entry_type ON audit_entry (type, seq);
CREATE INDEX audit_entry_who ON audit_entry (split_part(actor, ' ', 2), seq);
CREATE INDEX audit_entry_ts ON audit_entry (ts);
CREATE INDEX audit_entry_nodes ON audit_entry USING gin (nodes);
