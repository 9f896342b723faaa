-- view_incidents --
-- A page of incidents that pass the filters; by default what needs a person comes first
SELECT incident.incident_id, incident.node, incident.condition, incident.subject,
       incident.severity, incident.summary, incident.state::text AS state, incident.state_since,
       incident.opened_at, incident.expires_at, incident.cleared_at,
       judgement.ruling, judgement.shown ->> 'mode' AS mode,
       count(*) OVER () AS total
FROM incident LEFT JOIN judgement USING (incident_id)
WHERE (%(states)s::text[] IS NULL OR incident.state::text = ANY (%(states)s::text[]))
  AND (%(node)s::text = '' OR incident.node = %(node)s)
  AND (%(condition)s::text = '' OR incident.condition = %(condition)s)
  AND (%(severity)s::text = '' OR incident.severity = %(severity)s)
  AND (%(text)s::text = '' OR position(lower(%(text)s) IN lower(concat_ws(' ',
        incident.summary, incident.subject, incident.node, incident.condition,
        incident.incident_id))) > 0)
ORDER BY
    CASE WHEN %(sort)s = 'attention' THEN CASE
        WHEN incident.state::text = ANY (%(needs)s::text[]) THEN 0
        WHEN incident.state::text = ANY (%(final)s::text[]) THEN 2
        ELSE 1 END END,
    CASE WHEN %(sort)s IN ('attention', 'severity')
              AND NOT incident.state::text = ANY (%(final)s::text[])
         THEN incident.severity <> 'critical' END,
    CASE WHEN %(sort)s = 'severity' THEN incident.severity <> 'critical' END,
    CASE WHEN %(sort)s = 'node' THEN incident.node END,
    CASE WHEN %(sort)s = 'state' THEN incident.state END,
    CASE WHEN %(sort)s = 'oldest' THEN incident.opened_at END,
    incident.opened_at DESC, incident.incident_id
LIMIT %(limit)s OFFSET %(offset)s;

-- view_counts --
-- How many incidents are in each state
SELECT state::text AS state, count(*) AS count FROM incident GROUP BY state;

-- view_incident --
-- One incident with its newest plan, its judgement and its approval
SELECT incident.incident_id, incident.node, incident.condition, incident.subject,
       incident.severity, incident.summary, incident.finding, incident.evidence_digest,
       incident.state::text AS state, incident.state_since, incident.opened_at,
       incident.fired_at, incident.cleared_at, incident.expires_at, incident.attempts,
       plan.body AS plan, judgement.ruling, judgement.shown, judgement.shown_digest,
       judgement.verdicts, judgement.policy_digest, judgement.judged_at,
       approval.operator AS approved_by,
       approval.approved_at, approval.body AS approval,
       exec_order.created_at AS ordered_at, exec_order.taken_at
FROM incident
LEFT JOIN judgement USING (incident_id)
LEFT JOIN LATERAL (
    SELECT body FROM plan
    WHERE plan.incident_id = incident.incident_id
      AND (judgement.plan_id IS NULL OR plan.plan_id = judgement.plan_id)
    ORDER BY created_at DESC LIMIT 1
) plan ON true
LEFT JOIN LATERAL (
    SELECT string_agg(operator, ' and ' ORDER BY approved_at) AS operator,
           max(approved_at) AS approved_at, (array_agg(body ORDER BY approved_at DESC))[1] AS body
    FROM approval WHERE approval.incident_id = incident.incident_id
      AND approval.shown_digest = judgement.shown_digest
) approval ON true
LEFT JOIN exec_order USING (incident_id)
WHERE incident.incident_id = %(incident_id)s;

-- view_history --
-- What happened to an incident, oldest first
SELECT at, before::text AS before, after::text AS after, actor, note
FROM incident_history WHERE incident_id = %(incident_id)s ORDER BY history_id;

-- view_reports --
-- The node's words on the orders of an incident, oldest first
SELECT report.received_at, report.outcome, report.body
FROM report JOIN exec_order USING (order_id)
WHERE exec_order.incident_id = %(incident_id)s ORDER BY report.received_at;

-- view_incident_audit --
-- The audit entries of an incident, in order
SELECT seq, ts, type, actor, line FROM audit_entry
WHERE incident = %(incident_id)s ORDER BY seq LIMIT 500;

-- view_nodes --
-- All nodes by name, with how many of their incidents are not over
SELECT node.*, (
    SELECT count(*) FROM incident
    WHERE incident.node = node.name AND NOT incident.state::text = ANY (%(final)s::text[])
) AS incidents
FROM node ORDER BY node.name;

-- view_node_names --
-- The names of all nodes, for the filter
SELECT name FROM node ORDER BY name;

-- view_heartbeats --
-- When each part last said that it lives
SELECT part, instance, at, detail FROM heartbeat ORDER BY part, instance;

-- view_outbox --
-- How many entries wait for the notary, and since when
SELECT count(*) AS waiting, min(at) AS oldest FROM audit_outbox;

-- operator_all --
-- All operators by name, with when each was last seen
SELECT name, role, disabled, created_at, (
    SELECT max(seen_at) FROM signin_session WHERE signin_session.operator = operator.name
) AS seen_at
FROM operator ORDER BY name;

-- operator_one --
-- One operator, with the password's hash
SELECT name, role, disabled, created_at, password_hash FROM operator WHERE name = %(name)s;

-- operator_add --
-- A new operator; no row when the name is taken
INSERT INTO operator (name, password_hash, role, created_at)
VALUES (%(name)s, %(password_hash)s, %(role)s, %(now)s)
ON CONFLICT DO NOTHING;

-- operator_lock_admins --
-- The administrators who can sign in, locked, so that two cannot remove each other at once
SELECT name FROM operator WHERE role = 'admin' AND NOT disabled ORDER BY name FOR UPDATE;

-- operator_set_role --
-- Give an operator another role
UPDATE operator SET role = %(role)s WHERE name = %(name)s;

-- operator_set_disabled --
-- Let an operator in, or keep them out
UPDATE operator SET disabled = %(disabled)s WHERE name = %(name)s;

-- operator_set_password --
-- Replace a password's hash
UPDATE operator SET password_hash = %(password_hash)s WHERE name = %(name)s;

-- session_add --
-- A signed-in browser
INSERT INTO signin_session (token_hash, operator, address, created_at, seen_at, expires_at)
VALUES (%(token_hash)s, %(name)s, %(address)s, %(now)s, %(now)s, %(expires_at)s);

-- session_one --
-- A session that is neither over nor idle for too long, with its operator as they are now
SELECT signin_session.operator AS name, operator.role, signin_session.created_at,
       signin_session.seen_at, signin_session.expires_at
FROM signin_session JOIN operator ON operator.name = signin_session.operator
WHERE token_hash = %(token_hash)s AND NOT operator.disabled
  AND expires_at > %(now)s AND seen_at > %(idle_since)s;

-- session_seen --
-- The person did something
UPDATE signin_session SET seen_at = %(now)s WHERE token_hash = %(token_hash)s;

-- session_end --
-- Sign out; the row tells who it was
DELETE FROM signin_session WHERE token_hash = %(token_hash)s RETURNING operator AS name;

-- session_end_all --
-- Sign an operator out everywhere
DELETE FROM signin_session WHERE operator = %(name)s;

-- session_sweep --
-- Forget sessions that are over; the rows tell whose they were
DELETE FROM signin_session WHERE expires_at < %(now)s OR seen_at < %(idle_since)s
RETURNING operator AS name, token_hash;

-- failure_lock --
-- One guess at a time is counted for a name or an address
SELECT pg_advisory_xact_lock(hashtext('signin ' || %(subject)s));

-- failure_recent --
-- The newest failures for a name or an address, newest first, as many as lock it out
SELECT at FROM signin_failure
WHERE at > %(since)s AND CASE WHEN %(by)s = 'operator' THEN operator ELSE address END = %(subject)s
ORDER BY at DESC LIMIT %(limit)s;

-- failure_add --
-- Count a guess as failed before the password is looked at
INSERT INTO signin_failure (operator, address, at) VALUES (%(name)s, %(address)s, %(now)s)
RETURNING failure_id;

-- failure_forget --
-- The guess was right: it and the name's earlier ones no longer count
DELETE FROM signin_failure WHERE operator = %(name)s;

-- failure_sweep --
-- Forget failures that no longer count
DELETE FROM signin_failure WHERE at < %(since)s;

-- link_add --
-- A one-time sign-in link; an operator has one at a time
WITH gone AS (DELETE FROM signin_link WHERE operator = %(name)s)
INSERT INTO signin_link (token_hash, operator, expires_at)
VALUES (%(token_hash)s, %(name)s, %(expires_at)s);

-- link_use --
-- Use a link once: no row when it was used, is too old, or its operator is disabled
UPDATE signin_link SET used_at = %(now)s
FROM operator
WHERE signin_link.token_hash = %(token_hash)s AND used_at IS NULL AND expires_at > %(now)s
  AND operator.name = signin_link.operator AND NOT operator.disabled
RETURNING operator.name, operator.role;
