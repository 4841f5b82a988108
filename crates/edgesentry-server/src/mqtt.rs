//! Records from an MQTT broker.
