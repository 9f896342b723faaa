-- The spine: incidents and their plans, approvals, orders and reports; operators; the audit outbox.
-- depends:

CREATE TYPE incident_state AS ENUM (
    'open',             -- durable; waits for a reasoner
    'reasoning',        -- a reasoner holds the lease
    'proposed',         -- a plan is stored; waits for the policy's judgement
    'awaiting',         -- judged; waits for an operator
    'manual',           -- no command may run by itself; a person acts and records it
    'approved',         -- an operator said yes; waits for the log, then for dispatch
    'dispatched',       -- the signed order is stored and offered to the node
    'rehearsed',        -- the node checked all and, in dry-run, ran nothing
    'executed',         -- the node ran the commands; the detector has the last word
    'resolved',         -- ran, and the detector says the condition is gone
    'unresolved',       -- ran or failed, and the condition is still there
    'outcome_unknown',  -- a crash in the middle, or no report; a person must look
    'refused',          -- the node refused the order; nothing ran
    'rejected',         -- an operator said no
    'expired',          -- nobody answered in time; silence is never a yes
    'recovered',        -- the condition ended by itself
    'closed'            -- a person ended it, with a note
);

CREATE TABLE node (
    name          text PRIMARY KEY,           -- the name in its certificate
    first_seen    timestamptz NOT NULL,
    last_seen     timestamptz NOT NULL,
    connected     boolean NOT NULL DEFAULT false,
    agent_version text NOT NULL DEFAULT '',
    boot_id       text NOT NULL DEFAULT '',
    dry_run       boolean NOT NULL DEFAULT true,
    spooled       bigint NOT NULL DEFAULT 0,  -- events that waited at the node when it connected
    dropped       bigint NOT NULL DEFAULT 0   -- events the node says its full spool did not keep
);

-- Every event ever accepted, so that a repeat is harmless.
CREATE TABLE event (
    event_id    uuid PRIMARY KEY,
    node        text NOT NULL,
    kind        text NOT NULL,
    received_at timestamptz NOT NULL
);

CREATE TABLE incident (
    incident_id     uuid PRIMARY KEY,
    node            text NOT NULL REFERENCES node (name),
    finding_id      text NOT NULL,
    condition       text NOT NULL,
    subject         text NOT NULL,
    severity        text NOT NULL,
    summary         text NOT NULL,
    finding         jsonb NOT NULL,           -- the Finding, with its evidence
    evidence_digest text NOT NULL,            -- digest_of(finding)
    state           incident_state NOT NULL DEFAULT 'open',
    state_since     timestamptz NOT NULL,
    opened_at       timestamptz NOT NULL,
    fired_at        timestamptz NOT NULL,
    cleared_at      timestamptz,              -- the detector's word, whatever the state
    expires_at      timestamptz,              -- of the answer we wait for
    lease_holder    text,                     -- a worker's name, while it works on it
    lease_until     timestamptz,
    attempts        integer NOT NULL DEFAULT 0,
    UNIQUE (node, finding_id)
);
CREATE INDEX incident_queue ON incident (state, opened_at);
CREATE INDEX incident_by_node ON incident (node, opened_at DESC);

-- The allowed moves are data; the trigger lets no other through, whoever asks.
CREATE TABLE incident_move (
    before incident_state NOT NULL,
    after  incident_state NOT NULL,
    PRIMARY KEY (before, after)
);
INSERT INTO incident_move (before, after) VALUES
    ('open', 'reasoning'), ('open', 'recovered'), ('open', 'closed'),
    ('reasoning', 'open'), ('reasoning', 'proposed'), ('reasoning', 'recovered'),
    ('reasoning', 'closed'),
    ('proposed', 'awaiting'), ('proposed', 'manual'), ('proposed', 'recovered'),
    ('proposed', 'closed'),
    ('awaiting', 'approved'), ('awaiting', 'rejected'), ('awaiting', 'expired'),
    ('awaiting', 'recovered'), ('awaiting', 'closed'),
    ('manual', 'recovered'), ('manual', 'closed'),
    ('approved', 'dispatched'), ('approved', 'expired'), ('approved', 'recovered'),
    ('dispatched', 'rehearsed'), ('dispatched', 'executed'), ('dispatched', 'unresolved'),
    ('dispatched', 'outcome_unknown'), ('dispatched', 'refused'),
    ('rehearsed', 'recovered'), ('rehearsed', 'closed'),
    ('executed', 'resolved'), ('executed', 'unresolved'),
    ('unresolved', 'recovered'), ('unresolved', 'closed'),
    ('outcome_unknown', 'rehearsed'), ('outcome_unknown', 'executed'),
    ('outcome_unknown', 'unresolved'), ('outcome_unknown', 'refused'),
    ('outcome_unknown', 'recovered'), ('outcome_unknown', 'closed'),
    ('refused', 'recovered'), ('refused', 'closed'),
    ('rejected', 'recovered'), ('rejected', 'closed'),
    ('expired', 'recovered'), ('expired', 'closed');

CREATE FUNCTION incident_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state IS DISTINCT FROM OLD.state AND NOT EXISTS (
        SELECT FROM incident_move WHERE before = OLD.state AND after = NEW.state
    ) THEN
        RAISE EXCEPTION 'incident % may not move from % to %', OLD.incident_id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER incident_guard BEFORE UPDATE ON incident
    FOR EACH ROW EXECUTE FUNCTION incident_guard();

-- What happened to an incident, for people; the audit log is the proof.
CREATE TABLE incident_history (
    history_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id uuid NOT NULL REFERENCES incident,
    at          timestamptz NOT NULL,
    before      incident_state,
    after       incident_state NOT NULL,
    actor       text NOT NULL,
    note        text NOT NULL DEFAULT ''
);
CREATE INDEX incident_history_of ON incident_history (incident_id, history_id);

CREATE TABLE plan (
    plan_id     uuid PRIMARY KEY,
    incident_id uuid NOT NULL REFERENCES incident,
    created_at  timestamptz NOT NULL,
    body        jsonb NOT NULL,               -- the Plan
    UNIQUE (incident_id, plan_id)
);

-- The judged plan: exactly what an operator is shown, and its digest.
CREATE TABLE judgement (
    incident_id   uuid PRIMARY KEY REFERENCES incident,
    plan_id       uuid NOT NULL REFERENCES plan,
    judged_at     timestamptz NOT NULL,
    ruling        text NOT NULL CHECK (ruling IN ('allow', 'review', 'block')),
    policy_digest text NOT NULL,
    shown         jsonb NOT NULL,             -- the Shown
    shown_digest  text NOT NULL,
    verdicts      jsonb NOT NULL              -- each command's reasons, for the verdict panel
);

CREATE TABLE approval (
    approval_id  uuid PRIMARY KEY,
    incident_id  uuid NOT NULL UNIQUE REFERENCES incident,  -- one yes, used once
    operator     text NOT NULL,
    approved_at  timestamptz NOT NULL,
    body         jsonb NOT NULL,              -- the Approval
    audit_id     uuid NOT NULL                -- the entry that must be in the log first
);

CREATE TABLE exec_order (
    order_id    uuid PRIMARY KEY,
    incident_id uuid NOT NULL UNIQUE REFERENCES incident,
    node        text NOT NULL,
    envelope    bytea NOT NULL,
    created_at  timestamptz NOT NULL,
    not_after   timestamptz NOT NULL,
    taken_at    timestamptz,                  -- the executor has it in its journal
    reported_at timestamptz
);
CREATE INDEX exec_order_waiting ON exec_order (node) WHERE taken_at IS NULL;

CREATE TABLE report (
    report_id   uuid PRIMARY KEY,
    order_id    uuid NOT NULL REFERENCES exec_order,
    received_at timestamptz NOT NULL,
    outcome     text NOT NULL,
    body        jsonb NOT NULL                -- the Report
);

-- Rows here are committed with the change they speak of; the notary takes them in order.
CREATE TABLE audit_outbox (
    outbox_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entry_id  uuid NOT NULL UNIQUE,
    at        timestamptz NOT NULL,
    type      text NOT NULL,
    actor     jsonb NOT NULL,
    incident  uuid,
    outcome   text,
    body      jsonb NOT NULL
);

-- The index of the log's segment files, which are the record.
CREATE TABLE audit_entry (
    seq       bigint PRIMARY KEY,
    entry_id  uuid NOT NULL UNIQUE,
    ts        timestamptz NOT NULL,
    type      text NOT NULL,
    actor     text NOT NULL,
    incident  uuid,
    inc_seq   integer,
    leaf_hash bytea NOT NULL,
    line      text NOT NULL
);
CREATE INDEX audit_entry_incident ON audit_entry (incident, inc_seq);

CREATE TABLE audit_checkpoint (
    size      bigint PRIMARY KEY,
    root      text NOT NULL,                  -- hex
    signed_at timestamptz NOT NULL,
    note      text NOT NULL
);

CREATE TABLE operator (
    name          text PRIMARY KEY,
    password_hash text NOT NULL,              -- argon2id
    role          text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    disabled      boolean NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL
);

CREATE TABLE signin_session (
    token_hash text PRIMARY KEY,              -- SHA-256 of the token in the cookie
    operator   text NOT NULL REFERENCES operator,
    address    text NOT NULL,
    created_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE signin_failure (
    failure_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operator   text NOT NULL,
    address    text NOT NULL,
    at         timestamptz NOT NULL
);
CREATE INDEX signin_failure_recent ON signin_failure (operator, at);

CREATE TABLE signin_link (
    token_hash text PRIMARY KEY,              -- SHA-256 of the token in the link
    operator   text NOT NULL REFERENCES operator,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);

-- Who is alive: each long-running part says so every few seconds.
CREATE TABLE heartbeat (
    part     text NOT NULL,
    instance text NOT NULL,
    at       timestamptz NOT NULL,
    detail   jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (part, instance)
);

-- Wake who waits: the channel says which queue has something new.
CREATE FUNCTION incident_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('sentinel_' || NEW.state, NEW.incident_id::text);
    PERFORM pg_notify('sentinel_incident', NEW.incident_id::text);
    RETURN NEW;
END $$;
CREATE TRIGGER incident_notify AFTER INSERT OR UPDATE OF state ON incident
    FOR EACH ROW EXECUTE FUNCTION incident_notify();

CREATE FUNCTION outbox_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('sentinel_outbox', '');
    RETURN NULL;
END $$;
CREATE TRIGGER outbox_notify AFTER INSERT ON audit_outbox
    FOR EACH STATEMENT EXECUTE FUNCTION outbox_notify();

CREATE FUNCTION checkpoint_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('sentinel_checkpoint', NEW.size::text);
    RETURN NULL;
END $$;
CREATE TRIGGER checkpoint_notify AFTER INSERT ON audit_checkpoint
    FOR EACH ROW EXECUTE FUNCTION checkpoint_notify();

CREATE FUNCTION order_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('sentinel_order', NEW.node);
    RETURN NULL;
END $$;
CREATE TRIGGER order_notify AFTER INSERT ON exec_order
    FOR EACH ROW EXECUTE FUNCTION order_notify();
