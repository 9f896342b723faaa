-- Nodes as witnesses of the audit log: where each stands, what it cosigned, what it refused.
-- depends: 0003.trust

ALTER TABLE node
    ADD COLUMN seen_size     bigint NOT NULL DEFAULT 0,  -- entries of the log it has accepted
    ADD COLUMN seen_root     text NOT NULL DEFAULT '',   -- hex
    ADD COLUMN seen_at       timestamptz,                -- when it last said so
    ADD COLUMN witness_vkey  text NOT NULL DEFAULT '',   -- pinned at first sight
    ADD COLUMN witness_other text NOT NULL DEFAULT '';   -- another key it showed since; nobody took it

-- Cosignatures over our own checkpoints, verified before they are stored.
CREATE TABLE audit_witness (
    node        text NOT NULL REFERENCES node (name),
    size        bigint NOT NULL,
    root        text NOT NULL,                -- hex
    vkey        text NOT NULL,
    cosignature text NOT NULL,                -- a line of C2SP cosignature/v1
    at          timestamptz NOT NULL,
    PRIMARY KEY (node, size)
);
CREATE INDEX audit_witness_of ON audit_witness (size);

-- A node refused our log, or is ahead of it: one row from the first word until the node follows again.
CREATE TABLE log_fork (
    fork_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node     text NOT NULL REFERENCES node (name),
    found_at timestamptz NOT NULL,
    last_at  timestamptz NOT NULL,
    reason   text NOT NULL,
    notes    text NOT NULL DEFAULT '',        -- signed notes as evidence, each before an empty line
    ended_at timestamptz
);
CREATE UNIQUE INDEX log_fork_open ON log_fork (node) WHERE ended_at IS NULL;

ALTER TABLE exec_order
    ADD COLUMN log_size bigint NOT NULL DEFAULT 0;  -- of the checkpoint its proofs are under

CREATE FUNCTION witness_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('sentinel_witness', NEW.size::text);
    RETURN NULL;
END $$;
CREATE TRIGGER witness_notify AFTER INSERT OR UPDATE ON audit_witness
    FOR EACH ROW EXECUTE FUNCTION witness_notify();
