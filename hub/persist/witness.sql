-- witness_state --
-- What is known of a node as a witness, locked
SELECT name, seen_size, seen_root, seen_at, witness_vkey, witness_other FROM node
WHERE name = %(node)s FOR UPDATE;

-- witness_seen --
-- Where a node says it stands
UPDATE node SET seen_size = %(size)s, seen_root = %(root)s, seen_at = %(now)s
WHERE name = %(node)s;

-- witness_pin --
-- From here on this is the node's key as a witness
UPDATE node SET witness_vkey = %(vkey)s, witness_other = '' WHERE name = %(node)s;

-- witness_other --
-- The node showed another key than the pinned one
UPDATE node SET witness_other = %(vkey)s WHERE name = %(node)s;

-- witness_cosigned --
-- A verified cosignature; the newest of one size stands
INSERT INTO audit_witness (node, size, root, vkey, cosignature, at)
VALUES (%(node)s, %(size)s, %(root)s, %(vkey)s, %(cosignature)s, %(now)s)
ON CONFLICT (node, size) DO UPDATE
SET root = excluded.root, vkey = excluded.vkey, cosignature = excluded.cosignature,
    at = excluded.at
WHERE audit_witness.root <> excluded.root OR audit_witness.vkey <> excluded.vkey;

-- witness_prune --
-- Old cosignatures of a node are of no use to an order any more
DELETE FROM audit_witness
WHERE node = %(node)s AND size < (
    SELECT size FROM audit_witness WHERE node = %(node)s ORDER BY size DESC OFFSET %(keep)s LIMIT 1
);

-- cosigned_checkpoints --
-- Checkpoints over an entry with their cosignatures, newest first
SELECT checkpoint.size, checkpoint.note,
       array_agg(cosigned.cosignature ORDER BY cosigned.witness) AS cosignatures
FROM audit_checkpoint checkpoint JOIN cosigned USING (size, root)
WHERE checkpoint.size > %(seq)s
GROUP BY checkpoint.size, checkpoint.note
ORDER BY checkpoint.size DESC
LIMIT 32;

-- newest_checkpoint --
-- How far the log is signed
SELECT size, root, note FROM audit_checkpoint ORDER BY size DESC LIMIT 1;

-- open_fork --
-- The trouble with a node's view of the log that has not ended, locked
SELECT fork_id, reason, notes FROM log_fork WHERE node = %(node)s AND ended_at IS NULL FOR UPDATE;

-- add_fork --
-- A node refused our log, or is ahead of it; another hub may have said so at the same moment
INSERT INTO log_fork (node, found_at, last_at, reason, notes)
VALUES (%(node)s, %(now)s, %(now)s, %(reason)s, %(notes)s)
ON CONFLICT (node) WHERE ended_at IS NULL DO NOTHING;

-- still_forked --
-- It says so still, perhaps with more evidence
UPDATE log_fork SET last_at = %(now)s, reason = %(reason)s, notes = %(notes)s
WHERE fork_id = %(fork_id)s;

-- end_fork --
-- The node follows our log again
UPDATE log_fork SET ended_at = %(now)s WHERE node = %(node)s AND ended_at IS NULL;

-- view_forks --
-- Nodes, and other witnesses, that do not follow our log
SELECT fork_id, node, found_at, last_at, reason, notes <> '' AS evidence
FROM log_fork WHERE ended_at IS NULL
UNION ALL
SELECT 0, name, alarmed_at, asked_at, trouble, false
FROM outside_witness WHERE alarmed_at IS NOT NULL
ORDER BY found_at, node;

-- view_fork_notes --
-- The newest evidence that a node gave
SELECT node, found_at, reason, notes FROM log_fork
WHERE node = %(node)s AND notes <> '' ORDER BY fork_id DESC LIMIT 1;

-- view_cosigned --
-- The newest checkpoint with whoever cosigned it
SELECT checkpoint.size, checkpoint.note, coalesce(
    (SELECT array_agg(cosignature ORDER BY witness) FROM (
        SELECT cosignature, witness FROM cosigned
        WHERE cosigned.size = checkpoint.size AND cosigned.root = checkpoint.root
        ORDER BY witness LIMIT 99
    ) AS lines), '{}') AS cosignatures
FROM audit_checkpoint checkpoint
ORDER BY EXISTS (
    SELECT FROM cosigned
    WHERE cosigned.size = checkpoint.size AND cosigned.root = checkpoint.root
) DESC, checkpoint.size DESC
LIMIT 1;

-- view_witnesses --
-- Where each node stands, the one furthest behind first
SELECT node.name, node.connected, node.seen_size, node.seen_root, node.seen_at,
       node.witness_vkey, node.witness_other,
       greatest(0, coalesce(newest.size, 0) - node.seen_size) AS behind,
       cosigned.size AS cosigned_size, cosigned.at AS cosigned_at
FROM node
LEFT JOIN LATERAL (SELECT max(size) AS size FROM audit_checkpoint) newest ON true
LEFT JOIN LATERAL (
    SELECT size, at FROM audit_witness WHERE audit_witness.node = node.name
    ORDER BY size DESC LIMIT 1
) cosigned ON true
WHERE node.seen_at IS NOT NULL
ORDER BY node.seen_size, node.name
LIMIT 500;

-- decision_entries --
-- Decisions to go on with a log that was set back, the newest first
SELECT seq, line FROM audit_entry WHERE type = 'log.fork' AND seq < %(size)s
ORDER BY seq DESC LIMIT 16;

-- decision_entry --
-- Where one decision stands in the log
SELECT seq FROM audit_entry
WHERE type = 'log.fork' AND line::jsonb -> 'body' ->> 'statement' = %(statement)s
ORDER BY seq LIMIT 1;

-- given_up_notes --
-- The evidence of nodes that do not follow our log, for a decision about it
SELECT node, reason, notes FROM log_fork WHERE ended_at IS NULL ORDER BY node;
