//! Receives device records over HTTP, HTTPS and MQTT and gives them to a gate.
