-- The log: what devices tell by their streams, and what people and programs post.

-- name: page
-- Before a place, newest first. A posted log has no stream: it counts as of stream 0.
SELECT l.at, l.at_error_ms, coalesce(l.stream_no, 0) AS stream_no, l.seq, l.level, l.action, l.message, l.context,
       d.id AS device_id, d.name AS device_name, j.id AS junction_id, j.name AS junction_name,
       l.said_by, l.said_by_name
FROM system_logs l
LEFT JOIN ingest_streams s ON s.no = l.stream_no
LEFT JOIN edge_devices d ON d.id = s.device_id
LEFT JOIN junctions j ON j.id = coalesce(d.junction_id, l.junction_id)
WHERE l.at >= %(since)s AND l.at < %(until)s AND l.at <= %(at)s
  AND (l.at, coalesce(l.stream_no, 0), l.seq) < (%(at)s::timestamptz, %(stream_no)s::integer, %(seq)s::bigint)
  AND (%(streams)s::integer[] IS NULL OR l.stream_no = ANY (%(streams)s::integer[])
       OR l.stream_no IS NULL AND l.junction_id = ANY (%(junctions)s::uuid[]))
  AND (%(seen)s::integer[] IS NULL OR l.stream_no = ANY (%(seen)s::integer[]) OR l.stream_no IS NULL)
  AND (%(levels)s::text[] IS NULL OR l.level = ANY (%(levels)s::text[]))
  AND (%(actions)s::text[] IS NULL OR l.action = ANY (%(actions)s::text[]))
  AND (%(text)s::text IS NULL OR l.message ILIKE %(text)s::text)
  AND (%(context)s::jsonb IS NULL OR l.context @> %(context)s::jsonb)
ORDER BY l.at DESC, coalesce(l.stream_no, 0) DESC, l.seq DESC
LIMIT %(limit)s;

-- name: junctions
-- Those of some names or ids that are seen, of which there may be none.
SELECT id, name FROM junctions WHERE name = ANY (%(names)s::text[]) OR id::text = ANY (%(names)s::text[]);

-- name: devices
SELECT id, name FROM edge_devices WHERE name = ANY (%(names)s::text[]) OR id::text = ANY (%(names)s::text[]);

-- name: streams
-- The streams of all devices that were named, or stand at one of the junctions that were.
SELECT s.no
FROM ingest_streams s JOIN edge_devices d ON d.id = s.device_id
WHERE (%(junctions)s::uuid[] IS NULL OR d.junction_id = ANY (%(junctions)s::uuid[]))
  AND (%(devices)s::uuid[] IS NULL OR d.id = ANY (%(devices)s::uuid[]));

-- name: seen_streams
-- Of a user who may see some junctions only.
SELECT generate_series(lower(n), upper(n) - 1) FROM unnest(stream_ranges()) AS n;

-- name: post
INSERT INTO system_logs (at, at_error_ms, seq, stream_no, level, action, message, context, junction_id, said_by, said_by_name)
SELECT at, 0, nextval('posted_log_seq'), NULL, level, action, message, context, junction, %(said_by)s, %(said_by_name)s
FROM unnest(%(ats)s::timestamptz[], %(levels)s::text[], %(actions)s::text[], %(messages)s::text[], %(contexts)s::jsonb[],
            %(junctions)s::uuid[]) AS said (at, level, action, message, context, junction);
