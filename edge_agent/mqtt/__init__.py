"""MQTT between the Pis of a junction: a thin client on paho-mqtt, and the words of `common.topics` put to use."""
