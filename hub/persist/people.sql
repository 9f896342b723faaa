-- people_in_force --
-- The published list of people
SELECT body FROM people_in_force;

-- take_people --
-- From here on these people are in force
INSERT INTO people_in_force (body, since) VALUES (%(body)s, %(now)s)
ON CONFLICT (single) DO UPDATE SET body = excluded.body, since = excluded.since;

-- revoked_credentials --
-- Credentials that an operator or an administrator took back
SELECT credential_id FROM credential WHERE operator = %(operator)s AND revoked_at IS NOT NULL;

-- credential_count --
-- The last counter of an authenticator, locked until the transaction ends
SELECT sign_count FROM credential_use WHERE credential_id = %(credential_id)s FOR UPDATE;

-- credential_used --
-- Remember the counter; no row when it does not grow, unless there is none at all
INSERT INTO credential_use (credential_id, sign_count, used_at)
VALUES (%(credential_id)s, %(sign_count)s, %(now)s)
ON CONFLICT (credential_id) DO UPDATE
SET sign_count = excluded.sign_count, used_at = excluded.used_at
WHERE excluded.sign_count > credential_use.sign_count
   OR (excluded.sign_count = 0 AND credential_use.sign_count = 0);

-- credential_add --
-- A credential that waits for an administrator; no row when it or its key is known
INSERT INTO credential (credential_id, operator, kind, public_key, label, requested_at)
VALUES (%(credential_id)s, %(operator)s, %(kind)s, %(public_key)s, %(label)s, %(now)s)
ON CONFLICT DO NOTHING;

-- credential_one --
-- One credential, locked
SELECT * FROM credential WHERE credential_id = %(credential_id)s FOR UPDATE;

-- credential_approve --
-- An administrator compared the fingerprint with the owner
UPDATE credential SET approved_by = %(by)s, approved_at = %(now)s
WHERE credential_id = %(credential_id)s;

-- credential_revoke --
-- It counts no longer, at once
UPDATE credential SET revoked_by = %(by)s, revoked_at = %(now)s
WHERE credential_id = %(credential_id)s;

-- credential_all --
-- All credentials, by owner and age
SELECT credential.*, credential_use.used_at
FROM credential LEFT JOIN credential_use USING (credential_id)
ORDER BY operator, requested_at, credential_id;

-- credential_of --
-- An operator's credentials, the oldest first
SELECT credential.*, credential_use.used_at
FROM credential LEFT JOIN credential_use USING (credential_id)
WHERE operator = %(operator)s
ORDER BY requested_at, credential_id;

-- approvals_of --
-- Who said yes to what is shown now, in order
SELECT operator, approved_at, body FROM approval
WHERE incident_id = %(incident_id)s AND shown_digest = %(shown_digest)s
ORDER BY approved_at, approval_id;

-- count_yes --
-- How many said yes to what is shown now
SELECT count(*) AS given FROM approval JOIN judgement USING (incident_id, shown_digest)
WHERE incident_id = %(incident_id)s;

-- manual_add --
-- What a person did by hand
INSERT INTO manual_step (incident_id, at, operator, plan_id, step, command, outcome, output)
VALUES (%(incident_id)s, %(now)s, %(operator)s, %(plan_id)s, %(step)s, %(command)s, %(outcome)s,
        %(output)s);

-- manual_of --
-- What persons did by hand for an incident, oldest first
SELECT at, operator, plan_id::text AS plan_id, step, command, outcome, output FROM manual_step
WHERE incident_id = %(incident_id)s ORDER BY manual_step_id;

-- newest_plan --
-- The plan that an incident has now
SELECT body FROM plan WHERE incident_id = %(incident_id)s
ORDER BY created_at DESC, plan_id DESC LIMIT 1;

-- waiting_for_a_yes --
-- Plans that wait for an answer, the one that expires first at the top
SELECT incident.incident_id, incident.node, incident.summary, judgement.shown,
       judgement.shown_digest,
       (SELECT string_agg(operator, ', ' ORDER BY approved_at) FROM approval
        WHERE approval.incident_id = incident.incident_id
          AND approval.shown_digest = judgement.shown_digest) AS approved_by
FROM incident JOIN judgement USING (incident_id)
WHERE incident.state = 'awaiting' AND incident.expires_at > %(now)s
ORDER BY incident.expires_at, incident.incident_id;

-- shown_now --
-- What an operator is shown of an incident at this moment
SELECT incident.state::text AS state, incident.summary, judgement.shown, judgement.shown_digest
FROM incident JOIN judgement USING (incident_id)
WHERE incident_id = %(incident_id)s;
