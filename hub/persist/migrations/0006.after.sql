-- After an order: numbered reports under each node's own key, and the kill switch.
-- depends: 0003.trust

ALTER TABLE node
    ADD COLUMN result_key text,            -- signs its executor's reports; pinned at first sight
    ADD COLUMN result_key_since timestamptz,
    ADD COLUMN result_key_offered text,    -- another key, which nobody has accepted yet
    ADD COLUMN halted boolean NOT NULL DEFAULT false,     -- as its executor says itself
    ADD COLUMN halt_reason text NOT NULL DEFAULT '',
    ADD COLUMN state_at timestamptz;       -- when its executor last said so

-- The numbers of a node's reports are dense for each of its keys; a missing one shows.
CREATE TABLE node_report (
    node        text NOT NULL REFERENCES node (name),
    result_key  text NOT NULL,
    number      bigint NOT NULL,
    report_id   text NOT NULL,
    digest      text NOT NULL,
    previous    text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (node, result_key, number)
);

-- What is wrong with a node's reports; a gap is closed when the missing ones have come.
CREATE TABLE report_trouble (
    trouble_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node       text NOT NULL REFERENCES node (name),
    result_key text NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('gap', 'repeat', 'chain', 'stranger')),
    first      bigint NOT NULL,
    last       bigint NOT NULL,
    noticed_at timestamptz NOT NULL,
    closed_at  timestamptz
);
CREATE INDEX report_trouble_open ON report_trouble (node) WHERE closed_at IS NULL;

-- Reports under a key that nobody has accepted yet: durable, and not believed.
CREATE TABLE held_report (
    report_id   text PRIMARY KEY,
    node        text NOT NULL REFERENCES node (name),
    received_at timestamptz NOT NULL,
    body        jsonb NOT NULL              -- the Report
);

CREATE TABLE halt (
    halt_id    uuid PRIMARY KEY,
    node       text REFERENCES node (name), -- none: all nodes, also those that come later
    reason     text NOT NULL,
    ordered_by text NOT NULL,
    ordered_at timestamptz NOT NULL,
    lifted_by  text,
    lifted_at  timestamptz,
    resumption bytea                        -- an administrator's signature; nodes check it
);

CREATE FUNCTION halt_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('sentinel_halt', NEW.halt_id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER halt_notify AFTER INSERT OR UPDATE ON halt
    FOR EACH ROW EXECUTE FUNCTION halt_notify();
