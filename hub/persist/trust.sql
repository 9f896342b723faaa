-- publication --
-- What is published, kept as it is until this transaction ends
SELECT digest, files, versions, published_at, published_by FROM publication FOR SHARE;

-- publication_digest --
-- Whether something else is published than what was read before
SELECT digest FROM publication FOR SHARE;

-- lock_publishing --
-- One publication after the other, the very first ones too
SELECT pg_advisory_xact_lock(hashtext('sentinel_publication'));

-- publish --
-- From here on this set is published
INSERT INTO publication (digest, files, versions, published_at, published_by)
VALUES (%(digest)s, %(files)s, %(versions)s, %(now)s, %(by)s)
ON CONFLICT (single) DO UPDATE
SET digest = excluded.digest, files = excluded.files, versions = excluded.versions,
    published_at = excluded.published_at, published_by = excluded.published_by;

-- policy_now --
-- The policy in force, kept as it is until this transaction ends
SELECT digest, sequence FROM policy_in_force FOR SHARE;

-- judged_otherwise --
-- Plans that wait for an answer and were judged by another policy, locked
SELECT incident.incident_id
FROM incident JOIN judgement USING (incident_id)
WHERE incident.state = 'awaiting' AND judgement.policy_digest <> %(digest)s
ORDER BY incident.opened_at
LIMIT 100
FOR UPDATE OF incident SKIP LOCKED;

-- forget_judgement --
-- What was shown is not shown any more; the log keeps it
DELETE FROM judgement WHERE incident_id = %(incident_id)s;

-- forget_answers --
-- Answers to what is not shown any more; the log keeps them
DELETE FROM approval WHERE incident_id = %(incident_id)s;

-- node_trust --
-- What a node's executor says it believes
INSERT INTO node_trust (node, versions, refusal, heard_at)
VALUES (%(node)s, %(versions)s, %(refusal)s, %(now)s)
ON CONFLICT (node) DO UPDATE
SET versions = excluded.versions, refusal = excluded.refusal, heard_at = excluded.heard_at;

-- view_node_trust --
-- Every node with what it believes
SELECT node.name, node.connected, node.last_seen, node_trust.versions, node_trust.refusal,
       node_trust.heard_at
FROM node LEFT JOIN node_trust ON node_trust.node = node.name
ORDER BY node.name;

-- has_credentials --
-- Whether this database keeps credentials that were enrolled in the console
SELECT to_regclass('credential') IS NOT NULL AS has;

-- approved_credentials --
-- Enrolled credentials that an administrator approved, with the role of their operator's row
SELECT credential.operator, operator.role, credential.credential_id, credential.kind,
       credential.public_key, credential.label
FROM credential LEFT JOIN operator ON operator.name = credential.operator
WHERE credential.approved_at IS NOT NULL AND credential.revoked_at IS NULL
ORDER BY credential.operator, credential.approved_at;
