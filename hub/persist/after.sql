-- lock_node_key --
-- A node's key for reports, with the row locked against another change of it
SELECT result_key, result_key_offered, halted, halt_reason FROM node
WHERE name = %(node)s FOR NO KEY UPDATE;

-- pin_node_key --
-- From here on this key signs the node's reports
UPDATE node SET result_key = %(key)s, result_key_since = %(now)s, result_key_offered = NULL
WHERE name = %(node)s;

-- offer_node_key --
-- The node shows another key, or (none) shows the pinned one again
UPDATE node SET result_key_offered = %(key)s WHERE name = %(node)s;

-- node_said --
-- What a node's executor says of itself
UPDATE node SET halted = %(halted)s, halt_reason = %(reason)s, state_at = %(now)s
WHERE name = %(node)s;

-- numbered_report --
-- The report of this number
SELECT digest, previous FROM node_report
WHERE node = %(node)s AND result_key = %(key)s AND number = %(number)s;

-- add_numbered_report --
-- A report takes its place
INSERT INTO node_report (node, result_key, number, report_id, digest, previous, received_at)
VALUES (%(node)s, %(key)s, %(number)s, %(report_id)s, %(digest)s, %(previous)s, %(now)s);

-- last_number_before --
-- The highest number, besides this one
SELECT coalesce(max(number), 0) AS number FROM node_report
WHERE node = %(node)s AND result_key = %(key)s AND number <> %(number)s;

-- gap_around --
-- The open gap that this number is missing from, locked
SELECT trouble_id, first, last FROM report_trouble
WHERE node = %(node)s AND result_key = %(key)s AND kind = 'gap' AND closed_at IS NULL
  AND %(number)s BETWEEN first AND last
FOR UPDATE;

-- add_trouble --
-- Something is wrong with a node's reports
INSERT INTO report_trouble (node, result_key, kind, first, last, noticed_at)
VALUES (%(node)s, %(key)s, %(kind)s, %(first)s, %(last)s, %(now)s);

-- close_trouble --
-- The missing ones have come
UPDATE report_trouble SET closed_at = %(now)s WHERE trouble_id = %(trouble_id)s;

-- open_troubles --
-- What is wrong with reports now, by node
SELECT node, kind, first, last, noticed_at, result_key FROM report_trouble
WHERE closed_at IS NULL ORDER BY node, trouble_id LIMIT 500;

-- count_halted --
-- How many nodes say that they are halted
SELECT count(*) AS count FROM node WHERE halted;

-- count_troubles --
-- How many nodes' reports are not in order, or under a key that nobody accepted
SELECT count(*) AS count FROM node
WHERE result_key_offered IS NOT NULL OR EXISTS (
    SELECT FROM report_trouble
    WHERE report_trouble.node = node.name AND report_trouble.closed_at IS NULL
);

-- last_numbers --
-- The highest number of each node's reports under its present key
SELECT node.name AS node, max(node_report.number) AS number
FROM node JOIN node_report
  ON node_report.node = node.name AND node_report.result_key = node.result_key
GROUP BY node.name;

-- hold_report --
-- A report under a key that nobody has accepted yet
INSERT INTO held_report (report_id, node, received_at, body)
SELECT %(report_id)s, %(node)s, %(now)s, %(body)s
WHERE (SELECT count(*) FROM held_report WHERE node = %(node)s) < %(most)s
ON CONFLICT DO NOTHING;

-- take_held_reports --
-- A node's held reports, oldest first, and out of the way
WITH gone AS (DELETE FROM held_report WHERE node = %(node)s RETURNING body, received_at)
SELECT body FROM gone ORDER BY (body ->> 'number')::bigint, received_at;

-- held_counts --
-- How many reports of each node are held
SELECT node, count(*) AS count FROM held_report GROUP BY node;

-- add_halt --
-- Run nothing more
INSERT INTO halt (halt_id, node, reason, ordered_by, ordered_at)
VALUES (%(halt_id)s, %(node)s, %(reason)s, %(by)s, %(now)s);

-- lock_halt --
-- A halt, locked
SELECT halt_id, node, reason, lifted_at FROM halt WHERE halt_id::text = %(halt_id)s FOR UPDATE;

-- lift_halt --
-- An administrator signed that it is over; each node checks that by itself
UPDATE halt SET lifted_by = %(by)s, lifted_at = %(now)s, resumption = %(resumption)s
WHERE halt_id::text = %(halt_id)s;

-- halts_in_force --
-- The halts that nobody has lifted, oldest first
SELECT halt_id, node, reason, ordered_by, ordered_at FROM halt
WHERE lifted_at IS NULL ORDER BY ordered_at;

-- halts_for --
-- What these nodes have to be told: halts in force, and resumptions for those that are halted
SELECT node.name AS node, halt.halt_id, halt.reason, halt.resumption
FROM node JOIN halt ON halt.node IS NULL OR halt.node = node.name
WHERE node.name = ANY (%(nodes)s)
  AND (halt.lifted_at IS NULL OR (node.halted AND halt.lifted_at > %(since)s))
ORDER BY halt.ordered_at;

-- node_exists --
-- Whether a node of this name ever connected
SELECT name FROM node WHERE name = %(node)s;
