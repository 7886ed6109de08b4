-- Counters that speak only MQTT.

-- name: lock
-- One bridge at a time. It is held by a transaction that stays open, as a session's lock would not survive PgBouncer.
SELECT pg_try_advisory_xact_lock(%(key)s);

-- name: still_there
SELECT 1;

-- name: take_turn
-- Waits for who is just writing in an earlier one.
INSERT INTO mqtt_turn AS t (turn) VALUES (1) ON CONFLICT (one) DO UPDATE SET turn = t.turn + 1 RETURNING turn;

-- name: hold_turn
-- No row: it is another's. Until the end of the transaction nobody takes the next one.
SELECT FROM mqtt_turn WHERE turn = %(turn)s FOR SHARE;

-- name: devices
-- The devices that were made for it, one per junction.
SELECT DISTINCT ON (j.id) d.id, d.public_key, j.id, j.name
FROM edge_devices d JOIN junctions j ON j.id = d.junction_id
WHERE d.metadata @> '{"mqtt_bridge": true}' AND d.status = 'active'
ORDER BY j.id, d.created_at, d.id;

-- name: mark
UPDATE edge_devices SET metadata = metadata || '{"mqtt_bridge": true}' WHERE id = %(device)s;

-- name: bridge_of
SELECT d.id FROM edge_devices d JOIN junctions j ON j.id = d.junction_id
WHERE j.name = %(junction)s AND d.metadata @> '{"mqtt_bridge": true}' AND d.status = 'active';

-- name: take_back_positions
-- What was written down and whose records were not stored. They may never be, and their numbers become others'.
UPDATE mqtt_positions
SET seq = before_seq, total = before_total, missing = before_missing, stream_seq = %(watermark)s
WHERE device_id = %(device)s AND stream_seq > %(watermark)s;

-- name: positions
SELECT channel, lane, sender, boot_id, seq, total, missing
FROM mqtt_positions WHERE device_id = %(device)s
ORDER BY written_at;

-- name: save_position
INSERT INTO mqtt_positions AS p
    (device_id, channel, lane, sender, boot_id, seq, total, missing, stream_seq, before_seq, before_total, before_missing)
VALUES (%(device)s, %(channel)s, %(lane)s, %(sender)s, %(boot_id)s, %(seq)s, %(total)s, %(missing)s, %(stream_seq)s,
        %(before_seq)s, %(before_total)s, %(before_missing)s)
ON CONFLICT (device_id, channel, lane, sender, boot_id) DO UPDATE
SET seq = excluded.seq, total = excluded.total, missing = excluded.missing, stream_seq = excluded.stream_seq,
    before_seq = excluded.before_seq, before_total = excluded.before_total, before_missing = excluded.before_missing,
    written_at = now();

-- name: forget_positions
-- Of starts that ended long ago: a program says something every minute or so.
DELETE FROM mqtt_positions WHERE device_id = %(device)s AND written_at < now() - interval '90 days';

-- name: keep_message
INSERT INTO mqtt_messages (at, junction_id, topic, payload, qos, retained, outcome, detail)
VALUES (%(at)s, %(junction)s, %(topic)s, %(payload)s, %(qos)s, %(retained)s, %(outcome)s, %(detail)s);
