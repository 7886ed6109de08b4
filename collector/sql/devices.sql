-- The devices as people look after them: how each is, what became of its records, and what was put aside.

-- name: page
-- A page of devices, with all that a list shows of each. Filters and order are blocks of this file.
SELECT d.*, now() AS as_of FROM {shown}(ARRAY({found})) d;

-- name: found
SELECT d.id FROM {source} d {joined} WHERE {filters} ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s

-- name: found_in_order
-- Few are sorted by their names before each is asked when it was heard, until the page is full.
SELECT d.id FROM (SELECT d.id, d.name FROM {source} d WHERE {filters} ORDER BY {order} OFFSET 0) d
{joined} WHERE {slow} ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s

-- name: met
-- Of some, not few: they are met soon along the names.
(d.id IN ({candidates})) IS TRUE

-- name: few
(
    SELECT d.* FROM ({candidates}) c
    CROSS JOIN LATERAL (SELECT id, name, junction_id, status FROM edge_devices WHERE id = c.device_id OFFSET 0) d
)

-- name: any
true

-- name: none
false

-- name: of_ids
d.id = ANY (%(ids)s::uuid[])

-- name: of_status
d.status = %(status)s

-- name: at_junctions
d.junction_id = ANY (ARRAY(
    SELECT id FROM junctions WHERE name = ANY (%(junctions)s::text[]) OR id::text = ANY (%(junctions)s::text[])
))

-- name: named
-- What stands in a device's name or its junction's. Three letters or more find their devices by an index.
(name_pieces(d.name) @> name_pieces(%(q)s) AND strpos(lower(d.name), lower(%(q)s)) > 0
    OR d.junction_id = ANY (ARRAY(
        SELECT id FROM junctions
        WHERE name_pieces(name) @> name_pieces(%(q)s) AND strpos(lower(name), lower(%(q)s)) > 0)))

-- name: named_shortly
-- One letter, or two: by an index of their own.
(short_pieces(d.name) @> ARRAY[lower(%(q)s)]
    OR d.junction_id = ANY (ARRAY(SELECT id FROM junctions WHERE short_pieces(name) @> ARRAY[lower(%(q)s)])))

-- name: named_by_few
-- Among the devices of a user who may see some junctions only.
(strpos(lower(d.name), lower(%(q)s)) > 0
    OR d.junction_id = ANY (ARRAY(SELECT id FROM junctions WHERE strpos(lower(name), lower(%(q)s)) > 0)))

-- name: seen
-- Of a user who may see some junctions only: their devices are looked up, not looked for among all.
d.junction_id = ANY (ARRAY(SELECT seen_junctions()))

-- name: seen_and_heard
-- The same, of those that were heard not long ago: where nobody was, nobody needs to be asked.
d.junction_id = ANY (ARRAY(
    SELECT junction_id FROM junction_heard
    WHERE junction_id = ANY (ARRAY(SELECT seen_junctions())) AND received_at > now() - interval '15 minutes'
))

-- name: unheard
NOT d.has_sent

-- name: of_states
CASE WHEN r.received_at IS NULL THEN 'never'
     WHEN r.received_at > now() - interval '5 minutes' THEN 'healthy'
     WHEN r.received_at > now() - interval '15 minutes' THEN 'warning'
     ELSE 'critical' END = ANY (%(states)s::text[])

-- name: how_many
-- Of very many, those that come first are found sooner by walking along all.
SELECT count(*) FROM ({candidates} LIMIT %(most)s) AS found;

-- name: heard_then
-- All of some states, by an index.
SELECT device_id FROM device_heard r WHERE {heard_when}
UNION ALL
SELECT id FROM edge_devices WHERE NOT has_sent AND 'never' = ANY (%(states)s::text[])

-- name: heard_first
-- As many as are asked for of those who come first: who was never heard, then who is silent for longest.
(SELECT device_id FROM device_heard r WHERE {heard_when} ORDER BY received_at, device_id LIMIT %(first)s)
UNION ALL
(SELECT id FROM edge_devices WHERE NOT has_sent AND {never} ORDER BY id LIMIT %(first)s)

-- name: heard_last
-- The same from the other end.
(SELECT device_id FROM device_heard r WHERE {heard_when} ORDER BY received_at DESC, device_id DESC LIMIT %(first)s)
UNION ALL
(SELECT id FROM edge_devices WHERE NOT has_sent AND {never} ORDER BY id DESC LIMIT %(first)s)

-- name: heard_when
-- States that are asked for may have another between them.
r.received_at > now() - CASE WHEN 'critical' = ANY (%(states)s::text[]) THEN interval '100 years'
                             WHEN 'warning' = ANY (%(states)s::text[]) THEN interval '15 minutes'
                             WHEN 'healthy' = ANY (%(states)s::text[]) THEN interval '5 minutes' END
AND r.received_at <= now() - CASE WHEN 'healthy' = ANY (%(states)s::text[]) THEN interval '-100 years'
                                  WHEN 'warning' = ANY (%(states)s::text[]) THEN interval '5 minutes'
                                  WHEN 'critical' = ANY (%(states)s::text[]) THEN interval '15 minutes' END
AND {of_states}

-- name: by_name
d.name, d.id

-- name: by_name_down
d.name DESC, d.id DESC

-- name: by_received
-- Who was never heard comes first, then who is silent for longest.
r.received_at NULLS FIRST, d.id

-- name: by_received_down
r.received_at DESC NULLS LAST, d.id DESC

-- name: of_few
-- Of a user who may see some junctions only, those whom they see, with when each was heard.
seen_devices_heard()

-- name: joined_of_few
CROSS JOIN LATERAL (SELECT d.received_at) r

-- name: joined
-- When each was heard.
LEFT JOIN LATERAL (SELECT received_at FROM device_heard WHERE device_id = d.id OFFSET 0) r ON true

-- name: joined_whole
-- The same of very many, at once.
LEFT JOIN device_heard r ON r.device_id = d.id

-- name: health_history
-- The last day of a device, in quarters of an hour.
SELECT date_bin('15 minutes', h.at, 'epoch') AS at, max(h.temperature_c) AS temperature_c, max(h.outbox_records) AS outbox_records,
       min(h.disk_free_mb) AS disk_free_mb, max(h.cpu_percent) AS cpu_percent
FROM ingest_streams s
JOIN device_health h ON h.stream_no = s.no AND h.at >= now() - interval '1 day' AND h.at < now() + interval '15 minutes'
WHERE s.device_id = %(device)s
GROUP BY 1
ORDER BY 1;

-- name: sensor_history
-- What a device's sensors told of their signal in the last day, newest first.
SELECT q.at, q.sensor, q.state, q.span_ms, q.fps, q.reconnects, q.detail
FROM ingest_streams s
JOIN stream_quality_metrics q
  ON q.stream_no = s.no AND q.at >= now() - interval '1 day' AND q.at < now() + interval '15 minutes'
WHERE s.device_id = %(device)s
ORDER BY q.at DESC, q.sensor, q.seq DESC
LIMIT %(limit)s;

-- name: rejects
-- Records that were put aside, newest first, from a cursor on. Whose they are is looked up for those of the page only.
WITH page AS MATERIALIZED (
    SELECT r.* FROM ingest_rejects r {joined} WHERE {filters}
    ORDER BY r.received_at DESC, r.stream_no DESC, r.seq DESC
    LIMIT %(limit)s
)
SELECT r.received_at, r.stream_no, r.seq, r.code, r.detail, left(r.raw, %(raw)s) AS raw, length(r.raw) AS raw_length,
       s.stream, d.id AS device_id, d.name AS device_name, j.id AS junction_id, j.name AS junction_name,
       coalesce(r.received_at <= (d.metadata ->> 'rejects_seen_until')::timestamptz, false) AS seen
FROM page r
CROSS JOIN LATERAL (SELECT stream, device_id FROM ingest_streams WHERE no = r.stream_no OFFSET 0) s
CROSS JOIN LATERAL (SELECT id, name, junction_id, metadata FROM edge_devices WHERE id = s.device_id OFFSET 0) d
LEFT JOIN LATERAL (SELECT id, name FROM junctions WHERE id = d.junction_id OFFSET 0) j ON true
ORDER BY r.received_at DESC, r.stream_no DESC, r.seq DESC;

-- name: rejects_of_few
-- The same for a user who may see some junctions only.
SELECT * FROM seen_rejects(
    %(devices)s::text[], %(junctions)s::text[], %(codes)s::text[], %(is_open)s, %(received_at)s, %(stream_no)s, %(seq)s,
    %(limit)s, %(raw)s);

-- name: joined_rejects
-- What `rejects_open` needs.
JOIN ingest_streams s ON s.no = r.stream_no JOIN edge_devices d ON d.id = s.device_id

-- name: rejects_from
(r.received_at, r.stream_no, r.seq) < (%(received_at)s, %(stream_no)s, %(seq)s)

-- name: rejects_of_devices
r.stream_no = ANY (ARRAY(
    SELECT s.no FROM ingest_streams s JOIN edge_devices d ON d.id = s.device_id
    WHERE d.name = ANY (%(devices)s::text[]) OR d.id::text = ANY (%(devices)s::text[])
))

-- name: rejects_at_junctions
r.stream_no = ANY (ARRAY(
    SELECT s.no FROM junctions j JOIN edge_devices d ON d.junction_id = j.id JOIN ingest_streams s ON s.device_id = d.id
    WHERE j.name = ANY (%(junctions)s::text[]) OR j.id::text = ANY (%(junctions)s::text[])
))

-- name: rejects_of_codes
r.code = ANY (%(codes)s::text[])

-- name: rejects_open
NOT coalesce(r.received_at <= (d.metadata ->> 'rejects_seen_until')::timestamptz, false)

-- name: mark_rejects_seen
-- Never back: what somebody saw stays seen, and nothing is told then.
WITH old AS (
    SELECT id, (metadata ->> 'rejects_seen_until')::timestamptz AS until FROM edge_devices WHERE id = %(device)s
)
UPDATE edge_devices d
SET metadata = d.metadata || jsonb_build_object(
    'rejects_seen_until', least(%(until)s::timestamptz, now()), 'rejects_seen_by', %(by)s::text)
FROM old
WHERE d.id = old.id AND least(%(until)s::timestamptz, now()) > coalesce(old.until, '-infinity')
RETURNING old.until, (d.metadata ->> 'rejects_seen_until')::timestamptz;

-- Before its row: `hold_workers` says why.
-- name: hold_workers
SELECT pg_advisory_xact_lock(1398034257), pg_advisory_xact_lock(1398034259);

-- name: lock_device
SELECT d.name, d.status, d.junction_id, EXISTS (SELECT FROM ingest_streams s WHERE s.device_id = d.id) AS has_sent
FROM edge_devices d WHERE d.id = %(device)s FOR UPDATE;

-- name: rename_device
UPDATE edge_devices SET name = %(name)s WHERE id = %(device)s;

-- name: move_device
UPDATE edge_devices SET junction_id = %(junction_id)s WHERE id = %(device)s;

-- name: junction_exists
SELECT FROM junctions WHERE id = %(junction_id)s;
