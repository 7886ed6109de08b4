-- The log: what devices tell by their streams, and what people and programs post.

-- name: page
-- Before a place, newest first. A posted log has no stream: it counts as of stream 0. Whose the lines are is looked up
-- for those of the page only.
WITH page AS MATERIALIZED (
    SELECT l.* FROM system_logs l
    WHERE l.at >= %(since)s AND l.at < %(until)s AND l.at <= %(at)s
      AND (l.at, coalesce(l.stream_no, 0), l.seq) < (%(at)s::timestamptz, %(stream_no)s::integer, %(seq)s::bigint)
      AND (%(streams)s::integer[] IS NULL OR l.stream_no = ANY (%(streams)s::integer[])
           OR l.stream_no IS NULL AND l.junction_id = ANY (%(junctions)s::uuid[]))
      AND (%(levels)s::text[] IS NULL OR l.level = ANY (%(levels)s::text[]))
      AND (%(actions)s::text[] IS NULL OR l.action = ANY (%(actions)s::text[]))
      AND (%(word)s::text IS NULL OR l.message ILIKE %(word)s::text)
      AND (%(text)s::text IS NULL OR {message} ILIKE %(text)s::text)
      AND (%(context)s::jsonb IS NULL OR l.context @> %(context)s::jsonb)
    ORDER BY {at} DESC, coalesce(l.stream_no, 0) DESC, l.seq DESC
    LIMIT %(limit)s
)
SELECT l.at, l.at_error_ms, coalesce(l.stream_no, 0) AS stream_no, l.seq, l.level, l.action, l.message, l.context,
       d.id AS device_id, d.name AS device_name, j.id AS junction_id, j.name AS junction_name,
       l.said_by, l.said_by_name
FROM page l
LEFT JOIN LATERAL (SELECT device_id FROM ingest_streams WHERE no = l.stream_no OFFSET 0) s ON true
LEFT JOIN LATERAL (SELECT id, name, junction_id FROM edge_devices WHERE id = s.device_id OFFSET 0) d ON true
CROSS JOIN LATERAL (SELECT coalesce(d.junction_id, l.junction_id) AS id OFFSET 0) at
LEFT JOIN LATERAL (SELECT id, name FROM junctions WHERE id = at.id OFFSET 0) j ON true
ORDER BY l.at DESC, coalesce(l.stream_no, 0) DESC, l.seq DESC;

-- name: page_of_few
-- The same for a user who may see some junctions only.
SELECT * FROM seen_log_lines(
    %(since)s, %(until)s, %(at)s, %(stream_no)s, %(seq)s, %(limit)s, %(levels)s::text[], %(actions)s::text[],
    %(streams)s::integer[], %(junctions)s::uuid[], %(word)s::text, %(text)s::text, %(context)s::jsonb, %(is_rare)s);

-- name: matches
-- How many of the newest lines have each word, and how many the context.
SELECT log_matches(%(until)s, %(lines)s, %(words)s::text[], %(context)s::jsonb);

-- name: newest
-- Since when there are so many lines before a time, whoever may see them. NULL: there are fewer.
SELECT log_time_before(%(until)s, %(lines)s);

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

-- name: post
INSERT INTO system_logs (at, at_error_ms, seq, stream_no, level, action, message, context, junction_id, said_by, said_by_name)
SELECT at, 0, nextval('posted_log_seq'), NULL, level, action, message, context, junction, %(said_by)s, %(said_by_name)s
FROM unnest(%(ats)s::timestamptz[], %(levels)s::text[], %(actions)s::text[], %(messages)s::text[], %(contexts)s::jsonb[],
            %(junctions)s::uuid[]) AS said (at, level, action, message, context, junction);
