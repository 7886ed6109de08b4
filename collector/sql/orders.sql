-- Orders to a junction's lights, as operators give and see them. What comes back of commands is as in `remote.sql`.

-- Who drives the lights, and what they run. Locked: orders for a junction are given one after the other.
-- name: lights
SELECT j.name, j.timezone, j.metadata #>> '{lights,description}' AS runs, j.wanted::text AS wanted,
       d.id AS device, d.name AS device_name, d.status, d.junction_id = j.id AS stands_here
FROM junctions j
LEFT JOIN edge_devices d ON d.id = j.lights_device_id
WHERE j.id = %(junction)s
FOR NO KEY UPDATE OF j

-- The same, for those who only look.
-- name: lights_to_look_at
SELECT j.name, j.timezone, j.metadata #>> '{lights,description}' AS runs, j.wanted::text AS wanted,
       d.id AS device, d.name AS device_name, d.status, d.junction_id = j.id AS stands_here
FROM junctions j
LEFT JOIN edge_devices d ON d.id = j.lights_device_id
WHERE j.id = %(junction)s

-- A later order takes the place of those that nobody has fetched yet.
-- name: supersede
UPDATE commands
SET state = 'expired', settled_at = now(),
    detail = 'a later order, by ' || %(by)s::text || ', took its place before it was delivered'
WHERE junction_id = %(junction)s AND state = 'queued'
RETURNING id, junction_id, device_id, command::text, issued_by_name, state,
    detail, issued_at, expires_at, delivered_at, settled_at

-- name: is_there
SELECT FROM junctions WHERE id = %(junction)s

-- name: commands
SELECT id, junction_id, device_id, command::text, issued_by_name, state,
    detail, issued_at, expires_at, delivered_at, settled_at
FROM commands
WHERE junction_id = %(junction)s AND (%(command)s::uuid IS NULL OR id = %(command)s::uuid)
ORDER BY no DESC
LIMIT %(limit)s OFFSET %(offset)s

-- name: overrides
SELECT h.id, h.origin, h.command_id, h.user_id, h.user_name, h.mode, h.settings, h.why, h.ordered_at, h.began_at,
       h.expires_at, h.ended_at, h.ended_by,
       extract(epoch FROM coalesce(h.ended_at, now()) - h.began_at)::double precision AS duration_s
FROM v_control_history h
WHERE h.junction_id = %(junction)s
ORDER BY h.ordered_at DESC, h.id
LIMIT %(limit)s OFFSET %(offset)s
