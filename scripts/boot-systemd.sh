#!/usr/bin/env bash
# Makes a systemd the first process of new namespaces, for units under test. It knows no unit but those that are put
# into its /etc/systemd/system, has a /run and a /tmp of its own and copies of /etc, /usr/local and /var/lib that are gone
# with it; everything else is read-only, kernel variables too. The network is the machine's. For scripts/test-eds.sh.
#
#   unshare --fork --pid --mount --cgroup --uts --ipc scripts/boot-systemd.sh DIR
#
# DIR is the one folder that both sides write to; in there it is /run/shared, too. DIR/init gets the process id of the
# systemd, by which nsenter reaches what runs in there.
set -euo pipefail
read -r init _ </proc/self/stat

dir="$1"
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/lock /run/upper /run/shared /run/generators
mount --bind "$dir" /run/shared
for lower in /etc /usr/local /var/lib; do
    upper="/run/upper$lower"
    mkdir -p "$upper/upper" "$upper/work"
    mount -t overlay overlay -o "lowerdir=$lower,upperdir=$upper/upper,workdir=$upper/work" "$lower"
done
for own in /tmp /var/tmp /var/log; do mount -t tmpfs -o mode=1777 tmpfs "$own"; done
# Where it was, if that was below one of these.
mkdir -p "$dir"
mount --bind /run/shared "$dir"
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -o remount,bind,ro /
# Not with the machine any more, but among the namespaces in here: credentials are mounted in one of them.
mount --make-rshared /

# Without the system's own units: sysinit.target empties /tmp, sets kernel variables, mounts what fstab has.
mount -t tmpfs tmpfs /etc/systemd/system
for target in basic sysinit sockets timers paths shutdown umount multi-user network-online under-test; do
    printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' "$target" >"/etc/systemd/system/$target.target"
done
# Its number outside: it stays that of this process.
printf '%s\n' "$init" >"$dir/init"
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=other \
    SYSTEMD_LOG_TARGET=console SYSTEMD_UNIT_PATH=/etc/systemd/system SYSTEMD_GENERATOR_PATH=/run/generators \
    /lib/systemd/systemd --system --unit=under-test.target
