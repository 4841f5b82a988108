#!/usr/bin/env bash
# Installs the MQTT broker that the tests of crates/edgesentry-server start (Debian's mosquitto), and keeps it from
# running as a service where it was not installed before.
#
#   scripts/setup-mosquitto.sh     installs it and prints its path
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Debian puts it where only root looks.
PATH="$PATH:/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"

if ! have mosquitto; then
    if have apt-get; then
        apt_install mosquitto
        # The package starts it on port 1883; the tests start their own.
        if have systemctl && [ -d /run/systemd/system ]; then
            as_root systemctl disable --quiet --now mosquitto || true
        fi
    else
        die "install mosquitto 2.0 or newer (macOS: brew install mosquitto)"
    fi
fi
have mosquitto || die "mosquitto was installed, but is not found"
command -v mosquitto
