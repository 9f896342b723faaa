-- offer_audit --
-- Queue one entry for the notary, in the transaction of the change it speaks of
INSERT INTO audit_outbox (entry_id, at, type, actor, incident, outcome, body)
VALUES (%(entry_id)s, %(at)s, %(type)s, %(actor)s, %(incident)s, %(outcome)s, %(body)s);

-- remember_event --
-- An event id is accepted once; a repeat inserts nothing
INSERT INTO event (event_id, node, kind, received_at)
VALUES (%(event_id)s, %(node)s, %(kind)s, %(now)s)
ON CONFLICT DO NOTHING;

-- forget_event --
-- The event was not accepted after all
DELETE FROM event WHERE event_id = %(event_id)s;

-- open_incident --
-- One incident for each finding of a node
INSERT INTO incident (incident_id, node, finding_id, condition, subject, severity, summary,
                      finding, evidence_digest, state_since, opened_at, fired_at)
VALUES (%(incident_id)s, %(node)s, %(finding_id)s, %(condition)s, %(subject)s, %(severity)s,
        %(summary)s, %(finding)s, %(evidence_digest)s, %(now)s, %(now)s, %(fired_at)s)
ON CONFLICT (node, finding_id) DO NOTHING;

-- move_incident --
-- Move an incident from one of these states; no row when it is in another
WITH old AS (
    SELECT incident_id, state FROM incident
    WHERE incident_id = %(incident_id)s
    FOR UPDATE
)
UPDATE incident SET state = %(after)s::incident_state, state_since = %(now)s,
                    lease_holder = NULL, lease_until = NULL
FROM old
WHERE incident.incident_id = old.incident_id
  AND old.state = ANY (%(before)s::incident_state[])
RETURNING old.state AS before;

-- add_history --
-- A line of an incident's history
INSERT INTO incident_history (incident_id, at, before, after, actor, note)
VALUES (%(incident_id)s, %(now)s, %(before)s, %(after)s, %(actor)s, %(note)s);

-- claim_for_reasoning --
-- Take the most severe, oldest incident that waits for a reasoner or whose reasoner died
WITH next AS (
    SELECT incident_id, state FROM incident
    WHERE state = 'open' OR (state = 'reasoning' AND lease_until < %(now)s)
    ORDER BY severity = 'critical' DESC, opened_at
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
UPDATE incident SET state = 'reasoning', state_since = %(now)s, lease_holder = %(holder)s,
                    lease_until = %(until)s, attempts = attempts + 1
FROM next
WHERE incident.incident_id = next.incident_id
RETURNING incident.*, next.state AS before;

-- renew_lease --
-- Keep a claimed incident, if it is still ours
UPDATE incident SET lease_until = %(until)s
WHERE incident_id = %(incident_id)s AND state = 'reasoning' AND lease_holder = %(holder)s;

-- lock_lease --
-- The incident, if this holder still has it, locked until the transaction ends
SELECT incident_id FROM incident
WHERE incident_id = %(incident_id)s AND state = 'reasoning' AND lease_holder = %(holder)s
FOR UPDATE;

-- add_plan --
-- Store a proposal
INSERT INTO plan (plan_id, incident_id, created_at, body)
VALUES (%(plan_id)s, %(incident_id)s,
        (SELECT greatest(%(now)s, max(created_at) + interval '1 microsecond')  -- clocks may differ
         FROM plan WHERE incident_id = %(incident_id)s), %(body)s);

-- take_proposed --
-- The oldest plan that waits for judgement, locked, with its incident
SELECT incident.*, plan.plan_id, plan.body AS plan
FROM incident
JOIN LATERAL (
    SELECT plan_id, body FROM plan
    WHERE plan.incident_id = incident.incident_id
    ORDER BY created_at DESC LIMIT 1
) plan ON true
WHERE incident.state = 'proposed'
ORDER BY incident.opened_at
LIMIT 1
FOR UPDATE OF incident SKIP LOCKED;

-- add_judgement --
-- What an operator will be shown
INSERT INTO judgement (incident_id, plan_id, judged_at, ruling, policy_digest, shown,
                       shown_digest, verdicts)
VALUES (%(incident_id)s, %(plan_id)s, %(now)s, %(ruling)s, %(policy_digest)s, %(shown)s,
        %(shown_digest)s, %(verdicts)s)
ON CONFLICT (incident_id) DO UPDATE  -- another plan, by an operator
SET plan_id = excluded.plan_id, judged_at = excluded.judged_at, ruling = excluded.ruling,
    policy_digest = excluded.policy_digest, shown = excluded.shown,
    shown_digest = excluded.shown_digest, verdicts = excluded.verdicts;

-- set_expiry --
-- Until when the incident waits for an answer
UPDATE incident SET expires_at = %(expires_at)s WHERE incident_id = %(incident_id)s;

-- lock_judgement --
-- The judged plan of an incident, with both rows locked
SELECT incident.state, incident.node, incident.evidence_digest, incident.cleared_at,
       judgement.*
FROM incident JOIN judgement USING (incident_id)
WHERE incident_id = %(incident_id)s
FOR UPDATE;

-- lock_incident --
-- An incident, locked until the transaction ends
SELECT * FROM incident WHERE incident_id = %(incident_id)s FOR UPDATE;

-- add_approval --
-- One person's yes to one digest; no row when they said it before
INSERT INTO approval (approval_id, incident_id, shown_digest, operator, approved_at, body, audit_id)
VALUES (%(approval_id)s, %(incident_id)s, %(shown_digest)s, %(operator)s, %(now)s, %(body)s,
        %(audit_id)s)
ON CONFLICT DO NOTHING;

-- take_approved --
-- The oldest approved incident whose every approval is under a checkpoint, locked, with all the
-- order needs
SELECT incident.incident_id, incident.node, incident.finding, judgement.shown,
       given.approvals, checkpoint.size, checkpoint.note
FROM incident
JOIN judgement USING (incident_id)
CROSS JOIN LATERAL (
    SELECT size, note FROM audit_checkpoint ORDER BY size DESC LIMIT 1
) checkpoint
CROSS JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('approval', approval.body, 'seq', entry.seq,
                                        'line', entry.line) ORDER BY entry.seq) AS approvals,
           bool_and(coalesce(entry.seq < checkpoint.size, false)) AS logged,
           max(approval.approved_at) AS at
    FROM approval LEFT JOIN audit_entry entry ON entry.entry_id = approval.audit_id
    WHERE approval.incident_id = incident.incident_id
      AND approval.shown_digest = judgement.shown_digest
) given
WHERE incident.state = 'approved' AND given.logged
ORDER BY given.at
LIMIT 1
FOR UPDATE OF incident SKIP LOCKED;

-- add_order --
-- The signed order, before it leaves
INSERT INTO exec_order (order_id, incident_id, node, envelope, created_at, not_after, log_size)
VALUES (%(order_id)s, %(incident_id)s, %(node)s, %(envelope)s, %(now)s, %(not_after)s,
        %(log_size)s);

-- waiting_orders --
-- Orders that these nodes have not taken yet and may still take
SELECT order_id, node, envelope, log_size FROM exec_order
WHERE taken_at IS NULL AND reported_at IS NULL AND node = ANY (%(nodes)s)
  AND not_after > %(now)s
ORDER BY created_at;

-- order_taken --
-- The executor has the order in its journal
UPDATE exec_order SET taken_at = %(now)s
WHERE order_id = %(order_id)s AND node = %(node)s AND taken_at IS NULL;

-- lock_order --
-- An order with its incident, locked
SELECT exec_order.order_id, exec_order.node, incident.incident_id, incident.cleared_at,
       incident.state::text AS state
FROM exec_order JOIN incident USING (incident_id)
WHERE order_id::text = %(order_id)s
FOR UPDATE OF incident;

-- add_report --
-- A node's word on an order, once
WITH reported AS (
    UPDATE exec_order SET reported_at = %(now)s, taken_at = coalesce(taken_at, %(now)s)
    WHERE order_id = %(order_id)s
)
INSERT INTO report (report_id, order_id, received_at, outcome, body)
VALUES (%(report_id)s, %(order_id)s, %(now)s, %(outcome)s, %(body)s)
ON CONFLICT DO NOTHING;

-- lock_finding --
-- The incident of a node's finding, locked
SELECT incident_id, state FROM incident
WHERE node = %(node)s AND finding_id = %(finding_id)s
FOR UPDATE;

-- mark_cleared --
-- The detector's word, whatever the state
UPDATE incident SET cleared_at = %(cleared_at)s WHERE incident_id = %(incident_id)s;

-- overdue --
-- Incidents whose answer, dispatch or report is late, locked
SELECT incident.incident_id, incident.state, incident.expires_at
FROM incident
LEFT JOIN exec_order USING (incident_id)
WHERE (incident.state IN ('awaiting', 'approved') AND incident.expires_at < %(now)s)
   OR (incident.state = 'dispatched' AND exec_order.not_after < %(report_deadline)s)
ORDER BY incident.opened_at
LIMIT 100
FOR UPDATE OF incident SKIP LOCKED;

-- node_connected --
-- A node opened its stream
INSERT INTO node (name, first_seen, last_seen, connected, agent_version, boot_id, dry_run, spooled)
VALUES (%(node)s, %(now)s, %(now)s, true, %(agent_version)s, %(boot_id)s, %(dry_run)s, %(spooled)s)
ON CONFLICT (name) DO UPDATE
SET last_seen = excluded.last_seen, connected = true, agent_version = excluded.agent_version,
    boot_id = excluded.boot_id, dry_run = excluded.dry_run, spooled = excluded.spooled;

-- node_seen --
-- These nodes have a living stream
UPDATE node SET last_seen = %(now)s WHERE name = ANY (%(nodes)s);

-- node_disconnected --
-- A node's stream ended
UPDATE node SET last_seen = %(now)s, connected = false WHERE name = %(node)s;

-- all_disconnected --
-- A hub that starts has no streams yet
UPDATE node SET connected = false WHERE connected RETURNING name;

-- count_dropped --
-- The node's spool was full for so many events
UPDATE node SET dropped = dropped + %(count)s WHERE name = %(node)s;

-- beat --
-- A part says that it lives
INSERT INTO heartbeat (part, instance, at, detail)
VALUES (%(part)s, %(instance)s, %(now)s, %(detail)s)
ON CONFLICT (part, instance) DO UPDATE SET at = excluded.at, detail = excluded.detail;

-- log_state --
-- How far the log is, how old the oldest waiting row is, when the notary last lived, its trouble
SELECT (SELECT max(size) FROM audit_checkpoint) AS size,
       (SELECT detail->>'trouble' FROM heartbeat WHERE part = 'notary'
        ORDER BY at DESC LIMIT 1) AS trouble,
       (SELECT min(at) FROM audit_outbox) AS oldest_waiting,
       (SELECT max(at) FROM heartbeat WHERE part = 'notary') AS notary_at;

-- take_outbox --
-- The next rows for the log, in order
SELECT outbox_id, entry_id, at, type, actor, incident, outcome, body
FROM audit_outbox ORDER BY outbox_id LIMIT %(limit)s;

-- index_entry --
-- Index one entry of the log; twice is once
INSERT INTO audit_entry (seq, entry_id, ts, type, actor, incident, inc_seq, leaf_hash, line)
VALUES (%(seq)s, %(entry_id)s, %(ts)s, %(type)s, %(actor)s, %(incident)s, %(inc_seq)s,
        %(leaf_hash)s, %(line)s)
ON CONFLICT (seq) DO NOTHING;

-- leave_outbox --
-- These rows are in the log
DELETE FROM audit_outbox WHERE entry_id = ANY (%(entry_ids)s::uuid[]);

-- add_checkpoint --
-- Index a signed checkpoint
INSERT INTO audit_checkpoint (size, root, signed_at, note)
VALUES (%(size)s, %(root)s, %(now)s, %(note)s)
ON CONFLICT (size) DO NOTHING;

-- last_indexed --
-- How far the index is
SELECT (SELECT max(seq) FROM audit_entry) AS seq,
       (SELECT size FROM audit_checkpoint ORDER BY size DESC LIMIT 1) AS size,
       (SELECT root FROM audit_checkpoint ORDER BY size DESC LIMIT 1) AS root;

-- next_inc_seq --
-- The number of an incident's next entry
SELECT count(*) AS inc_seq FROM audit_entry WHERE incident = %(incident)s;

-- leaf_hashes --
-- The leaf hashes of a range of entries, in order
SELECT leaf_hash FROM audit_entry WHERE seq >= %(first)s AND seq < %(end)s ORDER BY seq;

-- history_since --
-- What happened to incidents after a line that was already read
SELECT history.history_id, history.incident_id, history.at, history.before, history.after,
       history.actor, history.note, incident.node, incident.subject, incident.condition,
       incident.fired_at, incident.opened_at
FROM incident_history history JOIN incident USING (incident_id)
WHERE history.history_id > %(after)s
ORDER BY history.history_id;

-- incident_story --
-- One incident with its plan, judgement, approval, order and last report
SELECT incident.*, plan.body AS plan, plan.created_at AS planned_at, judgement.shown,
       judgement.shown_digest, judgement.judged_at, approval.approved_at,
       exec_order.order_id, exec_order.created_at AS ordered_at, exec_order.taken_at,
       report.body AS report, report.received_at
FROM incident
LEFT JOIN judgement ON judgement.incident_id = incident.incident_id
LEFT JOIN plan ON plan.plan_id = judgement.plan_id
LEFT JOIN LATERAL (
    SELECT max(approved_at) AS approved_at
    FROM approval WHERE approval.incident_id = incident.incident_id
      AND approval.shown_digest = judgement.shown_digest
) approval ON true
LEFT JOIN exec_order ON exec_order.incident_id = incident.incident_id
LEFT JOIN LATERAL (
    SELECT body, received_at FROM report
    WHERE report.order_id = exec_order.order_id AND report.body ->> 'undo_of' IS NULL
    ORDER BY received_at DESC LIMIT 1
) report ON true
WHERE incident.incident_id = %(incident_id)s;

-- entries_with_this --
-- How many log entries an incident has, with the one that is about to be offered
SELECT (SELECT count(*) FROM audit_entry WHERE incident = %(incident)s)
     + (SELECT count(*) FROM audit_outbox WHERE incident = %(incident)s) + 1 AS entries;

-- hold_policy --
-- Nobody else takes a policy until the transaction ends
LOCK TABLE policy_in_force IN SHARE ROW EXCLUSIVE MODE;

-- policy_in_force --
-- The policy that the hub judged with last
SELECT digest, sequence FROM policy_in_force FOR UPDATE;

-- take_policy --
-- From here on this policy is in force
INSERT INTO policy_in_force (digest, sequence, since)
VALUES (%(digest)s, %(sequence)s, %(now)s)
ON CONFLICT (single) DO UPDATE
SET digest = excluded.digest, sequence = excluded.sequence, since = excluded.since;

-- judged_after --
-- Judged plans with the finding they answered, oldest first, a page at a time
SELECT judgement.plan_id, judgement.judged_at, judgement.shown, incident.finding
FROM judgement JOIN incident USING (incident_id)
WHERE (judgement.judged_at, judgement.plan_id) > (%(judged_at)s, %(plan_id)s)
ORDER BY judgement.judged_at, judgement.plan_id
LIMIT %(limit)s;

-- in_force --
-- What a part worked with last, locked
SELECT salt, digests FROM in_force WHERE part = %(part)s AND host = %(host)s FOR UPDATE;

-- take_in_force --
-- From here on a part works with this
INSERT INTO in_force (part, host, salt, digests, since)
VALUES (%(part)s, %(host)s, %(salt)s, %(digests)s, %(now)s)
ON CONFLICT (part, host) DO UPDATE
SET salt = excluded.salt, digests = excluded.digests, since = excluded.since;
