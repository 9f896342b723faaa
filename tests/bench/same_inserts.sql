BEGIN;
INSERT INTO event (event_id, node, kind, received_at) VALUES (gen_random_uuid(), 'bench-0', 'finding', now()) ON CONFLICT DO NOTHING;
WITH opened AS (
    INSERT INTO incident (incident_id, node, finding_id, condition, subject, severity, summary, finding, evidence_digest, state_since, opened_at, fired_at)
    SELECT gen_random_uuid(), 'bench-0', gen_random_uuid()::text, condition, subject, severity, summary, finding, evidence_digest, now(), now(), now()
    FROM incident LIMIT 1
    RETURNING incident_id
), told AS (
    INSERT INTO incident_history (incident_id, at, after, actor, note)
    SELECT incident_id, now(), 'open', 'node bench-0', 'leaky uses 300 MB, limit 120 MB' FROM opened
)
INSERT INTO audit_outbox (entry_id, at, type, actor, incident, body)
SELECT gen_random_uuid(), now(), 'incident.open', '{"kind":"node","id":"bench-0","node":"bench-0","session":null}', incident_id,
       '{"finding_id":"x","node":"bench-0","condition":"process_memory","subject":"pid 4711 (leaky)","severity":"critical"}'
FROM opened;
COMMIT;
