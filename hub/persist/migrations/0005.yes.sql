-- Operators' own signatures: credentials and what became of them, people in force, plans that
-- operators write, and what they did by hand.
-- depends: 0003.trust

-- A credential counts once it is in the published people.json; here is how it got that far.
CREATE TABLE credential (
    credential_id text PRIMARY KEY,           -- base64url of the authenticator, or SHA-256 of a key
    operator      text NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('webauthn', 'ed25519')),
    public_key    text NOT NULL UNIQUE,       -- as in people.json
    label         text NOT NULL DEFAULT '',
    requested_at  timestamptz NOT NULL,
    approved_by   text,                       -- an administrator, never the owner
    approved_at   timestamptz,
    revoked_by    text,
    revoked_at    timestamptz,
    CHECK (approved_by <> operator)
);
CREATE INDEX credential_of ON credential (operator);

-- The last counter of each authenticator: one that goes back is a copy.
CREATE TABLE credential_use (
    credential_id text PRIMARY KEY,
    sign_count    bigint NOT NULL,
    used_at       timestamptz NOT NULL
);

-- The people in force, read in one place: hub/persist/people.py.
CREATE TABLE people_in_force (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    body   jsonb NOT NULL,                    -- the People
    since  timestamptz NOT NULL
);

-- A yes is to one digest; a plan that replaces another starts from none.
ALTER TABLE approval ADD COLUMN shown_digest text NOT NULL DEFAULT '';
UPDATE approval SET shown_digest = body ->> 'shown_digest';
ALTER TABLE approval ALTER COLUMN shown_digest DROP DEFAULT;
ALTER TABLE approval DROP CONSTRAINT approval_incident_id_operator_key;
ALTER TABLE approval ADD UNIQUE (incident_id, shown_digest, operator);  -- nobody says yes twice

-- An operator proposes other commands: they are judged as any.
INSERT INTO incident_move (before, after) VALUES
    ('awaiting', 'proposed'), ('manual', 'proposed')
ON CONFLICT DO NOTHING;

-- What a person did by hand.
CREATE TABLE manual_step (
    manual_step_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id    uuid NOT NULL REFERENCES incident,
    at             timestamptz NOT NULL,
    operator       text NOT NULL,
    plan_id        uuid,                      -- with `step`, the command of the plan it was about
    step           integer,                   -- from 0
    command        text NOT NULL,
    outcome        text NOT NULL CHECK (outcome IN ('worked', 'did_not_work', 'not_done')),
    output         text NOT NULL
);
CREATE INDEX manual_step_of ON manual_step (incident_id, manual_step_id);
