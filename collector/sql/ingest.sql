-- Taking in batches. All of these run behind PgBouncer in transaction mode.

-- name: device_keys
SELECT id, public_key FROM edge_devices WHERE id = ANY (%(devices)s::uuid[])

-- Device and watermark of each stream asked for, in the order asked. A device or stream that is not there: NULL.
-- What can be read here is durable: a commit becomes visible only after its log was flushed.
-- name: read_streams
SELECT d.status, d.public_key, d.junction_id, s.no, coalesce(s.last_seq, 0)
FROM unnest(%(devices)s::uuid[], %(streams)s::text[], %(epochs)s::uuid[]) WITH ORDINALITY
    AS asked (device_id, stream, epoch, place)
LEFT JOIN edge_devices d ON d.id = asked.device_id
LEFT JOIN ingest_streams s ON (s.device_id, s.stream, s.epoch) = (asked.device_id, asked.stream, asked.epoch)
ORDER BY asked.place

-- Which of some turns of the bridge to MQTT it is. Until the end of the transaction nobody takes the next one.
-- name: hold_turns
SELECT turn FROM mqtt_turn WHERE turn = ANY (%(turns)s::bigint[]) FOR SHARE

-- In a fixed order, so that two collectors that meet the same new streams cannot deadlock. None of a device that has
-- very many.
-- name: create_streams
INSERT INTO ingest_streams (device_id, stream, epoch)
SELECT device_id, stream, epoch
FROM unnest(%(devices)s::uuid[], %(streams)s::text[], %(epochs)s::uuid[]) AS new (device_id, stream, epoch)
WHERE (SELECT count(*) FROM ingest_streams s WHERE s.device_id = new.device_id) < %(most)s
ORDER BY device_id, stream, epoch
ON CONFLICT (device_id, stream, epoch) DO NOTHING

-- Moves watermarks from where they were read to where the transaction's rows bring them. Touches fewer rows than it
-- was given if one of them has moved meanwhile, or if its device was revoked: then nothing of this may be committed.
-- Locks in a fixed order, for the sake of transactions that touch the same streams.
-- name: advance_streams
WITH step AS (
    SELECT * FROM unnest(
        %(nos)s::int[], %(from_seqs)s::bigint[], %(to_seqs)s::bigint[],
        %(stored)s::bigint[], %(rejected)s::bigint[], %(lost)s::bigint[], %(last_ats)s::timestamptz[]
    ) AS step (no, from_seq, to_seq, stored, rejected, lost, last_at)
), locked AS (
    SELECT s.no
    FROM ingest_streams s
    JOIN edge_devices d ON d.id = s.device_id AND d.status = 'active'
    WHERE s.no = ANY (%(nos)s::int[])
    ORDER BY s.no
    FOR NO KEY UPDATE OF s
)
UPDATE ingest_streams s
SET last_seq = step.to_seq,
    stored = s.stored + step.stored,
    rejected = s.rejected + step.rejected,
    lost = s.lost + step.lost,
    last_at = greatest(s.last_at, step.last_at),
    last_received_at = now()
FROM step JOIN locked USING (no)
WHERE s.no = step.no AND s.last_seq = step.from_seq

-- Waits for whoever moves one of these streams now.
-- name: await_streams
SELECT no FROM ingest_streams WHERE no = ANY (%(nos)s::int[]) ORDER BY no FOR SHARE

-- name: names_of_devices
SELECT device_id, 'camera', name, NULL, NULL, no, id
FROM cameras WHERE device_id = ANY (%(devices)s::uuid[])
UNION ALL
SELECT device_id, 'source', sensor, name, via, no, id
FROM counting_zones WHERE device_id = ANY (%(devices)s::uuid[])

-- name: create_cameras
INSERT INTO cameras (device_id, name)
SELECT device_id, name
FROM unnest(%(devices)s::uuid[], %(names)s::text[]) AS new (device_id, name)
ORDER BY device_id, name
ON CONFLICT (device_id, name) DO NOTHING

-- name: create_sources
INSERT INTO counting_zones (device_id, sensor, name, via, kind, camera_id, in_force)
SELECT new.device_id, new.sensor, new.name, new.via, new.kind, c.id,
       -- What a simulator knows of a line, and what is left over of its turns, is known for as long as the line is.
       (SELECT z.in_force FROM counting_zones z
        WHERE z.device_id = new.device_id AND z.sensor = new.sensor AND z.name = new.name
          AND z.in_force IS NOT NULL LIMIT 1)
FROM unnest(
    %(devices)s::uuid[], %(sensors)s::text[], %(names)s::text[], %(vias)s::text[], %(kinds)s::text[]
) AS new (device_id, sensor, name, via, kind)
LEFT JOIN cameras c ON c.device_id = new.device_id AND c.name = new.sensor
ORDER BY new.device_id, new.sensor, new.name, new.via
ON CONFLICT (device_id, sensor, name, via) DO NOTHING

-- A camera counts at these from now on, and at nothing else. What has counted before anybody told so is taken to have
-- been there always. What is left over of turns has names of its own, which nobody tells.
-- name: tell_sources
WITH told AS (
    SELECT z.no, z.name = ANY (%(names)s::text[]) AS is_named, tstzmultirange(tstzrange(%(at)s, NULL)) AS from_now,
           CASE WHEN z.in_force IS NOT NULL THEN z.in_force
                WHEN EXISTS (SELECT FROM count_rollups WHERE source_no = z.no AND step_s = 86400)
                  OR EXISTS (SELECT FROM rollup_marks WHERE kind = 'count' AND ref_no = z.no)
                THEN '{(,)}'::tstzmultirange ELSE '{}'::tstzmultirange END AS before
    FROM counting_zones z
    JOIN ingest_streams s ON s.device_id = z.device_id
    WHERE s.no = %(stream)s AND z.sensor = %(sensor)s AND z.via NOT IN ('rfid', 'unpaired')
), becomes AS (
    SELECT no, CASE WHEN is_named THEN before + from_now ELSE before - from_now END AS in_force FROM told
)
UPDATE counting_zones z SET in_force = b.in_force
FROM becomes b WHERE z.no = b.no AND z.in_force IS DISTINCT FROM b.in_force

-- name: count_rejects
SELECT count(*) FROM ingest_rejects

-- What a junction is, as its lights say, and whose stream said so. What is older than what is known is left out; what
-- is equal is not written.
-- name: describe_junction
UPDATE junctions
SET metadata = metadata || jsonb_build_object(
        'lights', jsonb_build_object('at_ms', %(at_ms)s::bigint, 'description', %(description)s::jsonb)),
    lights_device_id = %(device)s
WHERE id = %(junction)s
  AND coalesce((metadata #>> '{lights,at_ms}')::bigint, 0) <= %(at_ms)s
  AND (metadata #> '{lights,description}' IS DISTINCT FROM %(description)s::jsonb
       OR lights_device_id IS DISTINCT FROM %(device)s)

-- name: keep_lanes
SELECT keep_lanes(%(junction)s)

-- What came of commands, as their devices tell. The first word that a device says of a command stands; a command of
-- another device, or one that is not known, stays as it is. A device's clock may be off: it was settled between its
-- issue and now. What a device did not give to the lights in time was too late, or, as it cannot know, too late since a
-- later order had been given. The columns that come back are those of `sql/remote.sql`.
-- name: settle_commands
WITH said AS (
    SELECT * FROM unnest(
        %(commands)s::uuid[], %(devices)s::uuid[], %(states)s::text[], %(ats)s::timestamptz[], %(details)s::text[]
    ) AS said (command, device, state, at, detail)
), locked AS (
    SELECT c.id
    FROM commands c
    JOIN said ON said.command = c.id AND said.device = c.device_id
    WHERE c.told_at IS NULL
    ORDER BY c.no
    FOR UPDATE OF c
)
UPDATE commands c
SET state = said.state,
    detail = CASE WHEN said.state = 'expired' THEN coalesce(
        (SELECT 'a later order, by ' || later.issued_by_name || ', took its place before the lights got it'
         FROM commands later
         WHERE later.junction_id = c.junction_id AND later.no > c.no AND later.issued_at < c.expires_at
         ORDER BY later.no LIMIT 1), said.detail) ELSE said.detail END,
    settled_at = greatest(c.issued_at, least(said.at, now())),
    told_at = now()
FROM said JOIN locked ON locked.id = said.command
WHERE c.id = said.command AND c.told_at IS NULL
RETURNING c.id, c.junction_id, c.device_id, c.command::text, c.issued_by_name, c.state,
    c.detail, c.issued_at, c.expires_at, c.delivered_at, c.settled_at
