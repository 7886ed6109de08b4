-- Of several collectors' bridges to MQTT, one at a time writes.

-- Whose turn it is to write what comes by MQTT. Each bridge that begins takes the next; whoever has an earlier one, and
-- was only held up, writes nothing more.
CREATE TABLE mqtt_turn (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    turn bigint NOT NULL
);
