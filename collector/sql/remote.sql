-- Orders to devices. All of these run behind PgBouncer in transaction mode.
-- Where commands are returned, their columns are: id, junction_id, device_id, command::text, issued_by_name, state,
-- detail, issued_at, expires_at, delivered_at, settled_at.

-- Nothing comes back where too many wait already.
-- name: queue_command
INSERT INTO commands (junction_id, device_id, command, issued_by, issued_by_name, expires_at)
SELECT %(junction)s, %(device)s, %(command)s, %(user)s, %(name)s, now() + make_interval(secs => %(valid_s)s)
WHERE (SELECT count(*) FROM commands WHERE device_id = %(device)s AND state IN ('queued', 'delivered')) < %(most)s
RETURNING id, junction_id, device_id, command::text, issued_by_name, state,
    detail, issued_at, expires_at, delivered_at, settled_at

-- name: devices_asked
SELECT id, status, public_key FROM edge_devices WHERE id = ANY (%(devices)s::uuid[])

-- All open commands of these devices, oldest first. Those that waited are delivered by this. What was delivered
-- before comes again, expired or not: its device may have lost the answer, and has to tell what became of it. Where a
-- later order was given for the junction, or another device drives its lights now, no time is left to it, so that a
-- device that did not begin it does not. An order is for the lights of one junction: to a device that was moved to
-- another it is not given any more. Where the clock was set back behind its issue nobody knows how old it is.
-- name: deliver
WITH waiting AS (
    SELECT c.id
    FROM commands c
    JOIN edge_devices d ON d.id = c.device_id AND d.status = 'active' AND d.junction_id = c.junction_id
    JOIN junctions j ON j.id = c.junction_id AND coalesce(j.lights_device_id, c.device_id) = c.device_id
    WHERE c.device_id = ANY (%(devices)s::uuid[]) AND c.state = 'queued' AND c.expires_at > now()
      AND c.issued_at < now() + interval '5 seconds'
    ORDER BY c.no
    FOR UPDATE OF c
), given AS (
    UPDATE commands c
    SET state = 'delivered', delivered_at = now()
    FROM waiting
    WHERE c.id = waiting.id AND c.state = 'queued'
    RETURNING c.*
), open AS (
    SELECT given.*, true AS is_new FROM given
    UNION ALL
    SELECT c.*, false
    FROM commands c
    JOIN edge_devices d ON d.id = c.device_id AND d.junction_id = c.junction_id
    WHERE c.device_id = ANY (%(devices)s::uuid[]) AND c.state = 'delivered'
)
SELECT o.id, junction_id, device_id, command::text, issued_by_name, state,
    detail, issued_at, expires_at, delivered_at, settled_at,
    CASE WHEN j.lights_device_id <> o.device_id OR o.issued_at > now() + interval '5 seconds'
           OR EXISTS (SELECT FROM commands later WHERE later.junction_id = o.junction_id AND later.no > o.no) THEN 0
         ELSE greatest(extract(epoch FROM expires_at - greatest(now(), issued_at)), 0) END::float8, is_new
FROM open o JOIN junctions j ON j.id = o.junction_id
ORDER BY o.no

-- Also of what was given to a connection that is dead, as it seems: its device may wait again, at any worker.
-- name: devices_with_commands
SELECT DISTINCT device_id FROM commands
WHERE expires_at > now()
  AND (state = 'queued' OR state = 'delivered' AND told_at IS NULL AND delivered_at < now() - interval '2 seconds')

-- What was not delivered in time never is, nor what seems to be from the time to come. What was delivered, and of which
-- nothing was told for long after: nobody knows. Should the device tell after all, its word replaces this.
-- name: expire_commands
WITH late AS (
    SELECT id
    FROM commands
    WHERE state IN ('queued', 'delivered')
      AND (expires_at <= now() - CASE state WHEN 'queued' THEN interval '0' ELSE make_interval(secs => %(patience_s)s) END
           OR issued_at >= now() + interval '5 seconds')
    ORDER BY no
    LIMIT 500
    FOR UPDATE SKIP LOCKED
)
UPDATE commands c
SET state = CASE c.state WHEN 'queued' THEN 'expired' ELSE 'failed' END,
    detail = CASE
        WHEN c.state <> 'queued' THEN 'it was sent to the device, which has not told what became of it'
        WHEN c.expires_at > now() THEN 'the database''s clock was set back: how old it is is not known; the lights never got it'
        ELSE 'it did not reach the device in time; the lights never got it' END,
    settled_at = greatest(c.issued_at, now())
FROM late
WHERE c.id = late.id
RETURNING c.id, junction_id, device_id, command::text, issued_by_name, state,
    detail, issued_at, expires_at, delivered_at, settled_at
