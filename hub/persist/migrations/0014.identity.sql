-- Which certificates nodes show, which nodes are no longer believed, and who was asked to join.
-- depends: 0008.in_force

CREATE TABLE node_certificate (
    node        text NOT NULL,
    serial      text NOT NULL,  -- hex in pairs, as Vault spells it
    key_sha256  text NOT NULL,  -- of the public key; what two people compare
    sha256      text NOT NULL,  -- of the certificate
    not_before  timestamptz NOT NULL,
    not_after   timestamptz NOT NULL,
    first_seen  timestamptz NOT NULL,
    last_seen   timestamptz NOT NULL,
    PRIMARY KEY (node, serial)
);

-- Certificates of such a node are refused when they began before this moment
CREATE TABLE node_revocation (
    node        text PRIMARY KEY,
    since       timestamptz NOT NULL,
    reason      text NOT NULL,
    revoked_by  text NOT NULL
);

CREATE TABLE node_enrolment (
    enrolment_id  uuid PRIMARY KEY,
    node          text NOT NULL,
    wrap          text NOT NULL,   -- accessor of the wrapping; it opens nothing. Empty: by file
    wrapped       text NOT NULL,   -- accessor of the token inside
    asked_by      text NOT NULL,
    asked_at      timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'joined', 'expired', 'stolen')),
    settled_at    timestamptz
);

CREATE INDEX node_enrolment_open ON node_enrolment (node) WHERE state = 'open';

CREATE FUNCTION announce_identity() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('sentinel_identity', NEW.node);
    RETURN NEW;
END $$;

CREATE TRIGGER node_revocation_announced AFTER INSERT OR UPDATE ON node_revocation
FOR EACH ROW EXECUTE FUNCTION announce_identity();
