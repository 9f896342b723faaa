-- revocation_of --
-- Since when certificates of this node are not believed
SELECT since, reason FROM node_revocation WHERE node = %(node)s;

-- revocations_of --
-- Which of these nodes are not believed, and since when
SELECT node, since, reason FROM node_revocation WHERE node = ANY (%(nodes)s);

-- certificate_seen --
-- A node showed this certificate; whether it did before
INSERT INTO node_certificate
    (node, serial, key_sha256, sha256, not_before, not_after, first_seen, last_seen)
VALUES
    (%(node)s, %(serial)s, %(key_sha256)s, %(sha256)s, %(not_before)s, %(not_after)s, %(now)s, %(now)s)
ON CONFLICT (node, serial) DO UPDATE SET last_seen = excluded.last_seen
RETURNING (xmax = 0) AS fresh;

-- certificates_of --
-- What a node has shown and could show again
SELECT serial, key_sha256, not_before, not_after, first_seen FROM node_certificate
WHERE node = %(node)s AND not_after > %(now)s ORDER BY first_seen;

-- certificates_shown --
-- The certificate each node showed last
SELECT DISTINCT ON (node) node, serial, key_sha256, not_before, not_after FROM node_certificate
ORDER BY node, last_seen DESC, not_after DESC;

-- add_revocation --
-- From here on the node's certificates are not believed
INSERT INTO node_revocation (node, since, reason, revoked_by)
VALUES (%(node)s, %(now)s, %(reason)s, %(by)s)
ON CONFLICT (node) DO UPDATE
SET since = excluded.since, reason = excluded.reason, revoked_by = excluded.revoked_by;

-- add_enrolment --
-- A node is asked to join
INSERT INTO node_enrolment (enrolment_id, node, wrap, wrapped, asked_by, asked_at, expires_at)
VALUES (%(enrolment_id)s, %(node)s, %(wrap)s, %(wrapped)s, %(by)s, %(now)s, %(expires_at)s);

-- open_enrolments --
-- Who was asked to join and has not, or one of them; locked against another answer
SELECT * FROM node_enrolment
WHERE state = 'open' AND (%(node)s::text IS NULL OR node = %(node)s)
ORDER BY asked_at FOR NO KEY UPDATE;

-- last_enrolments --
-- What became of asking each node to join
SELECT DISTINCT ON (node) node, state, asked_at, expires_at FROM node_enrolment
ORDER BY node, asked_at DESC;

-- settle_enrolment --
-- What became of it
UPDATE node_enrolment SET state = %(state)s, settled_at = %(now)s
WHERE enrolment_id = %(enrolment_id)s AND state = 'open';
