-- Junctions on a map: where they are, put together where many are close.

-- name: junction_map_extent
-- How far the junctions reach, and how many have a place at all.
SELECT min(l.longitude) AS west, min(l.latitude) AS south, max(l.longitude) AS east, max(l.latitude) AS north,
       count(*) FILTER (WHERE l.latitude IS NOT NULL AND l.longitude IS NOT NULL) AS placed, count(*) AS junctions
FROM junctions j
LEFT JOIN locations l ON l.id = j.location_id
WHERE %(q)s::text IS NULL OR strpos(lower(j.name), lower(%(q)s)) > 0;

-- name: junction_map
-- What lies within the bounds, cell by cell. The cells have their places on the globe, so that they stay where they
-- are while a map is moved. A cell of one junction tells which it is.
WITH places AS (
    SELECT j.id, j.name, l.latitude, l.longitude
    FROM junctions j
    JOIN locations l ON l.id = j.location_id
    WHERE l.latitude BETWEEN %(south)s AND %(north)s AND l.longitude BETWEEN %(west)s AND %(east)s
      AND (%(q)s::text IS NULL OR strpos(lower(j.name), lower(%(q)s)) > 0)
), shown AS (
    -- Joined, not asked for one by one: of a whole city that is several times as fast.
    SELECT p.*,
           CASE WHEN h.received_at IS NULL THEN 'never'
                WHEN h.received_at >= now() - %(live)s THEN 'live'
                WHEN h.received_at >= now() - %(late)s THEN 'late'
                ELSE 'silent' END AS state
    FROM places p
    LEFT JOIN junction_heard h ON h.junction_id = p.id
)
SELECT avg(latitude)::double precision AS latitude, avg(longitude)::double precision AS longitude, count(*) AS n,
       count(*) FILTER (WHERE state = 'live') AS live, count(*) FILTER (WHERE state = 'late') AS late,
       count(*) FILTER (WHERE state = 'silent') AS silent, count(*) FILTER (WHERE state = 'never') AS never,
       min(longitude) AS west, min(latitude) AS south, max(longitude) AS east, max(latitude) AS north,
       CASE WHEN count(*) = 1 THEN min(id::text)::uuid END AS id, CASE WHEN count(*) = 1 THEN min(name) END AS name
FROM shown
WHERE %(states)s::text[] IS NULL OR state = ANY (%(states)s::text[])
GROUP BY floor(latitude / %(cell_latitude)s), floor(longitude / %(cell_longitude)s)
ORDER BY n DESC, west, south
LIMIT %(limit)s;
