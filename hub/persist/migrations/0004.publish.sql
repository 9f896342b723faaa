-- Signed trust: what is published, what each node believes of it, and plans that are judged anew.
-- depends: 0003.trust

CREATE TABLE publication (
    single       boolean PRIMARY KEY DEFAULT true CHECK (single),
    digest       text NOT NULL,     -- over all files
    files        bytea NOT NULL,    -- the set, as hub and nodes verify it
    versions     jsonb NOT NULL,    -- of root, targets, snapshot, timestamp
    published_at timestamptz NOT NULL,
    published_by text NOT NULL
);

CREATE FUNCTION publication_news() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('sentinel_trust', NEW.digest);
    RETURN NEW;
END $$;
CREATE TRIGGER publication_news AFTER INSERT OR UPDATE ON publication
    FOR EACH ROW EXECUTE FUNCTION publication_news();

CREATE TABLE node_trust (
    node     text PRIMARY KEY REFERENCES node (name),
    versions jsonb NOT NULL,        -- what its executor believes; empty: nothing
    refusal  text NOT NULL,         -- why it did not take the newest, or runs nothing
    heard_at timestamptz NOT NULL
);

-- Another policy came into force while a plan waited for an answer: it is judged anew.
INSERT INTO incident_move (before, after) VALUES ('awaiting', 'proposed')
ON CONFLICT DO NOTHING;
