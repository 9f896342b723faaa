-- The policy in force: the next one may not be older, and a change is told to the audit log.
-- depends: 0001.spine

CREATE TABLE policy_in_force (
    single   boolean PRIMARY KEY DEFAULT true CHECK (single),
    digest   text NOT NULL,
    sequence bigint NOT NULL,  -- of the signed file; 0: rules from a folder
    since    timestamptz NOT NULL
);
