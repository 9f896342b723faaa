-- enrolments_unopened --
-- Who was asked to join by a token that may still be opened, and was not when we last looked
SELECT enrolment_id, node, wrap, expires_at FROM node_enrolment
WHERE state = 'open' AND wrap <> '' AND opened_at IS NULL AND expires_at > %(now)s
ORDER BY asked_at;

-- enrolment_opened --
-- Its wrapping is gone before its time
UPDATE node_enrolment SET opened_at = %(now)s
WHERE enrolment_id = %(enrolment_id)s AND state = 'open' AND opened_at IS NULL;

-- enrolments_overdue --
-- Tokens that were opened a while ago, and still no node has come and nobody was told
SELECT * FROM node_enrolment
WHERE state = 'open' AND opened_at <= %(before)s
  AND NOT EXISTS (
    SELECT FROM incident WHERE incident.node = node_enrolment.node
                           AND incident.finding_id = 'stolen-' || node_enrolment.enrolment_id
  )
ORDER BY asked_at
FOR NO KEY UPDATE;

-- open_for_a_person --
-- An incident of the hub's own, which no reasoner ever takes; once for each finding
INSERT INTO incident (incident_id, node, finding_id, condition, subject, severity, summary,
                      finding, evidence_digest, state, state_since, opened_at, fired_at)
VALUES (%(incident_id)s, %(node)s, %(finding_id)s, %(condition)s, %(subject)s, %(severity)s,
        %(summary)s, %(finding)s, %(evidence_digest)s, 'manual', %(now)s, %(now)s, %(now)s)
ON CONFLICT (node, finding_id) DO NOTHING;
