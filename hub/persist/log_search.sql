-- entries_before --
-- Audit entries that pass the filters, newest first, below a number
SELECT seq, ts, type, actor, incident, inc_seq, line
FROM audit_entry
WHERE (%(before)s::bigint IS NULL OR seq < %(before)s)
  AND (%(incident)s::text = '' OR incident = nullif(%(incident)s, '')::uuid)
  AND (%(type)s::text = '' OR type = %(type)s)
  AND (%(who)s::text = '' OR split_part(actor, ' ', 2) = %(who)s)
  AND (%(node)s::text = '' OR nodes @> ARRAY[%(node)s::text]
       OR incident IN (SELECT incident_id FROM incident WHERE incident.node = %(node)s))
  AND (%(since)s::timestamptz IS NULL OR ts >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR ts < %(until)s)
  AND (%(text)s::text = '' OR position(lower(%(text)s) IN lower(line)) > 0)
ORDER BY seq DESC LIMIT %(limit)s;

-- entries_after --
-- The same above a number, oldest first
SELECT seq, ts, type, actor, incident, inc_seq, line
FROM audit_entry
WHERE seq > %(after)s
  AND (%(incident)s::text = '' OR incident = nullif(%(incident)s, '')::uuid)
  AND (%(type)s::text = '' OR type = %(type)s)
  AND (%(who)s::text = '' OR split_part(actor, ' ', 2) = %(who)s)
  AND (%(node)s::text = '' OR nodes @> ARRAY[%(node)s::text]
       OR incident IN (SELECT incident_id FROM incident WHERE incident.node = %(node)s))
  AND (%(since)s::timestamptz IS NULL OR ts >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR ts < %(until)s)
  AND (%(text)s::text = '' OR position(lower(%(text)s) IN lower(line)) > 0)
ORDER BY seq LIMIT %(limit)s;

-- entry_of --
-- One audit entry by its number
SELECT seq, ts, type, actor, incident, inc_seq, line FROM audit_entry WHERE seq = %(seq)s;

-- entries_beside --
-- The entries of an incident around one of them, in order
SELECT seq, ts, type, actor, inc_seq FROM audit_entry
WHERE incident = %(incident)s AND inc_seq BETWEEN %(first)s AND %(last)s
ORDER BY inc_seq;

-- view_checkpoint --
-- The newest signed checkpoint
SELECT size, root, signed_at, note FROM audit_checkpoint ORDER BY size DESC LIMIT 1;

-- who_acts --
-- Everybody who can stand as the actor of an entry, for the filter
SELECT name FROM operator UNION SELECT name FROM node ORDER BY name LIMIT 500;
