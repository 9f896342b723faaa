-- outside_add --
-- The settings name this witness; under another key it is another one, and stands nowhere yet
INSERT INTO outside_witness (name, vkey, url) VALUES (%(name)s, %(vkey)s, %(url)s)
ON CONFLICT (name) DO UPDATE SET vkey = excluded.vkey, url = excluded.url,
    size = CASE WHEN outside_witness.vkey = excluded.vkey THEN outside_witness.size ELSE 0 END;

-- outside_drop --
-- The settings name it no more
DELETE FROM outside_witness WHERE name <> ALL (%(names)s::text[]);

-- outside_state --
-- Where a witness stands, locked
SELECT name, size, trouble, alarmed_at FROM outside_witness WHERE name = %(name)s FOR UPDATE;

-- outside_said --
-- What came of asking it
UPDATE outside_witness SET size = %(size)s, trouble = %(trouble)s, asked_at = %(now)s,
    alarmed_at = CASE WHEN %(alarm)s THEN coalesce(alarmed_at, %(now)s) END
WHERE name = %(name)s;

-- outside_moved --
-- It says that it stands there
UPDATE outside_witness SET size = %(size)s WHERE name = %(name)s;

-- outside_cosigned --
-- A verified cosignature; the newest of one size stands
INSERT INTO outside_cosignature (witness, size, root, cosignature, at)
VALUES (%(name)s, %(size)s, %(root)s, %(cosignature)s, %(now)s)
ON CONFLICT (witness, size) DO UPDATE
SET root = excluded.root, cosignature = excluded.cosignature, at = excluded.at;

-- outside_prune --
-- Old cosignatures of a witness are of no use to an order any more
DELETE FROM outside_cosignature
WHERE witness = %(name)s AND size < (
    SELECT size FROM outside_cosignature WHERE witness = %(name)s
    ORDER BY size DESC OFFSET %(keep)s LIMIT 1
);

-- outside_there --
-- Whether it cosigned this very checkpoint already
SELECT size FROM outside_cosignature
WHERE witness = %(name)s AND size = %(size)s AND root = %(root)s;

-- view_outside --
-- Witnesses that are no nodes, for the console
SELECT name, url, size, asked_at, trouble, alarmed_at FROM outside_witness ORDER BY name;

-- view_decisions --
-- Decisions to go on after the log was set back, the newest first, for the console
SELECT seq, ts, line::jsonb -> 'body' -> 'people' AS people,
       line::jsonb -> 'body' ->> 'reason' AS reason,
       (line::jsonb -> 'body' ->> 'old_size')::bigint AS old_size,
       (line::jsonb -> 'body' ->> 'new_size')::bigint AS new_size
FROM audit_entry WHERE type = 'log.fork' ORDER BY seq DESC LIMIT 8;
