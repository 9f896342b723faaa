-- Trusted execution: several people's yes to one plan, and what each node has accepted of the log.
-- depends: 0002.policy

ALTER TABLE approval DROP CONSTRAINT approval_incident_id_key;
ALTER TABLE approval ADD UNIQUE (incident_id, operator);  -- nobody says yes twice
