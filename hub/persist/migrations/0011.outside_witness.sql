-- Witnesses of the audit log that are no nodes: where each stands, what it cosigned.
-- depends: 0008.in_force

CREATE TABLE outside_witness (
    name       text PRIMARY KEY,               -- as in its vkey
    vkey       text NOT NULL,
    url        text NOT NULL,                  -- its submission prefix
    size       bigint NOT NULL DEFAULT 0,      -- entries it cosigned last, as it says
    asked_at   timestamptz,
    trouble    text NOT NULL DEFAULT '',       -- why it did not cosign; empty: it did
    alarmed_at timestamptz                     -- since when it says that our log is not what it saw
);

-- Cosignatures over our own checkpoints, verified before they are stored.
CREATE TABLE outside_cosignature (
    witness     text NOT NULL REFERENCES outside_witness (name) ON DELETE CASCADE,
    size        bigint NOT NULL,
    root        text NOT NULL,                 -- hex
    cosignature text NOT NULL,                 -- a line of C2SP cosignature/v1
    at          timestamptz NOT NULL,
    PRIMARY KEY (witness, size)
);
CREATE INDEX outside_cosignature_of ON outside_cosignature (size);
CREATE TRIGGER witness_notify AFTER INSERT OR UPDATE ON outside_cosignature
    FOR EACH ROW EXECUTE FUNCTION witness_notify();

-- Whoever cosigned a checkpoint, node or not.
CREATE VIEW cosigned AS
    SELECT node AS witness, size, root, cosignature FROM audit_witness
    UNION ALL
    SELECT witness, size, root, cosignature FROM outside_cosignature;
