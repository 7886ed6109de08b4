-- Turning movements are sources of counts, and zones tell who stands and how many they are meant for.
ALTER TABLE counting_zones DROP CONSTRAINT counting_zones_via_check;
ALTER TABLE counting_zones ADD CONSTRAINT counting_zones_via_check
    CHECK (via IN ('camera', 'rfid', 'truth', 'turn', 'unpaired'));
ALTER TABLE counting_zones DROP CONSTRAINT counting_zones_kind_check;
ALTER TABLE counting_zones ADD CONSTRAINT counting_zones_kind_check
    CHECK (kind IN ('line', 'zone', 'reader', 'turn', 'unpaired'));
ALTER TABLE zone_occupancy ADD COLUMN stood_mean_s real;
ALTER TABLE zone_occupancy ADD COLUMN n_standing integer;
ALTER TABLE zone_occupancy ADD COLUMN capacity integer;
