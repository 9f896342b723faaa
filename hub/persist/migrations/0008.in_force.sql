-- With which settings and model each part worked last, so that a change is told to the log.
-- depends: 0003.trust

CREATE TABLE in_force (
    part     text NOT NULL,   -- serve, reason, notary, console, model
    host     text NOT NULL,   -- the machine it runs on
    salt     text NOT NULL,   -- hex; without it the digests in the log tell nothing about secrets
    digests  jsonb NOT NULL,  -- key: salted SHA-256 of its value
    since    timestamptz NOT NULL,
    PRIMARY KEY (part, host)
);
