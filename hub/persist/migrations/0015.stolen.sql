-- Joining tokens that somebody opened: since when, and incidents about names that never connected.
-- depends: 0014.identity

-- When the hub first saw the wrapping gone before its time; the node has still to connect
ALTER TABLE node_enrolment ADD COLUMN opened_at timestamptz;

-- An incident about a joining token is about a name that may never become a node
ALTER TABLE incident DROP CONSTRAINT incident_node_fkey;
