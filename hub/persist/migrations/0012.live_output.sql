-- What a running command has printed so far: a glimpse for people who watch, one for each node.
-- depends: 0008.in_force

-- Nothing is judged by it and nothing is lost with it, so it need not outlive a crash.
CREATE UNLOGGED TABLE live_output (
    node     text PRIMARY KEY REFERENCES node (name),
    order_id uuid NOT NULL,
    step     int NOT NULL,              -- of the plan's commands, from 0
    undoing  boolean NOT NULL,          -- its rollback runs
    output   text NOT NULL,             -- unsigned; redacted by the node, or so it says
    total    bigint NOT NULL,           -- bytes printed so far
    at       timestamptz NOT NULL
);
