# shellcheck shell=bash
# Debian's packages and sources from suites that this machine does not use; sourced after lib.sh, never run.
# The caller sets `work`, a folder for what is under way.
# shellcheck disable=SC2154

# A private apt configuration: other suites of the mirror that apt already uses. The system's sources stay as they are.
# DEBIAN_APT is its folder.
debian_apt() {
    local command="$1" private="${DEBIAN_APT:-$SECURE_LOG_CACHE/apt}"
    shift
    "$command" -q \
        -o Dir::Etc::SourceList="$private/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$private/lists" -o Dir::Cache="$private/cache" \
        -o APT::Sandbox::User="" -o Acquire::Languages=none \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
        -o Acquire::IndexTargets::deb::CNF::DefaultEnabled=false "$@"
}

debian_mirror() {
    # shellcheck disable=SC2016  # apt's own placeholder
    apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null | head -n 1 || true
}

_debian_update() { debian_apt apt-get update >"$1" 2>&1; }

# debian_sources TYPE SUITE...: the lists of these suites into the private configuration. TYPE: deb or deb-src.
debian_sources() {
    local type="$1" private="${DEBIAN_APT:-$SECURE_LOG_CACHE/apt}" keyring=/usr/share/keyrings/debian-archive-keyring.gpg mirror suite
    shift
    have apt-get || { say "    no apt-get here"; return 1; }
    [ -e "$keyring" ] || { say "    no Debian archive keyring here ($keyring)"; return 1; }
    mirror="$(debian_mirror)"
    if [ -z "$mirror" ]; then
        as_root apt-get -qq update >&2 || true
        mirror="$(debian_mirror)"
    fi
    [ -n "$mirror" ] || { say "    apt on this machine uses no Debian mirror"; return 1; }
    mkdir -p "$private/lists/partial" "$private/cache/archives/partial"
    for suite in "$@"; do
        printf '%s [signed-by=%s] %s %s main\n' "$type" "$keyring" "$mirror" "$suite"
    done >"$private/sources.list"
    # A suite that does not exist on the mirror is no reason to stop: what matters is found or not found by the caller.
    # Scripts that run side by side share the lists.
    with_lock "lists-$(basename "$private")" _debian_update "$private/update.log" || true
}

debian_lists() {
    [ -z "${debian_lists_ready:-}" ] || return 0
    have apt-get || { say "    no apt-get here"; return 1; }
    say "    reading Debian's package lists of the newer suites (about 30 MB, kept apart from the system's)"
    debian_sources deb stable stable-updates stable-backports oldstable-backports testing unstable || return 1
    debian_lists_ready=1
}

# debian_unpack PACKAGE VERSION-PATTERN DIRECTORY PATH...: unpacks these paths of the newest matching version.
debian_unpack() {
    local package="$1" pattern="$2" into="$3" debs="$SECURE_LOG_CACHE/debs" version="" deb
    shift 3
    mkdir -p "$debs" "$into"
    deb="$(for file in "$debs/${package}_"*.deb; do
        [ -e "$file" ] || continue
        version="$(dpkg-deb -f "$file" Version)"
        if printf '%s' "$version" | grep -Eq "$pattern"; then printf '%s\n' "$file"; fi
    done | sort -V | tail -n 1)"
    if [ -z "$deb" ]; then
        debian_lists || return 1
        version="$(debian_apt apt-cache madison "$package" | cut -d'|' -f2 | tr -d ' ' |
            grep -E "$pattern" | sort -V | tail -n 1 || true)"
        if [ -z "$version" ]; then
            say "    Debian has no $package whose version matches $pattern"
            return 1
        fi
        say "    downloading Debian's $package $version"
        rm -rf "$work/deb" && mkdir "$work/deb"
        (cd "$work/deb" && debian_apt apt-get download "$package=$version" >/dev/null) || return 1
        deb="$debs/$(basename "$work/deb/"*.deb)"
        mv "$work/deb/"*.deb "$deb"
    fi
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$into" --wildcards "$@"
}

# debian_original SOURCE VERSION-PATTERN FILE SHA256: prints where this upstream archive of a source package lies, fetched
# when it has to be. Which suite has it changes with time, what is in it does not.
debian_original() {
    local source="$1" pattern="$2" file="$3" sum="$4" kept="$SECURE_LOG_CACHE/debs/$3" suite version DEBIAN_APT
    if [ ! -e "$kept" ] || [ "$(sha256 <"$kept")" != "$sum" ]; then
        DEBIAN_APT="$SECURE_LOG_CACHE/apt-sources"
        mkdir -p "$SECURE_LOG_CACHE/debs"
        for suite in stable testing unstable oldstable; do
            say "    looking for the sources of $source in Debian's $suite (a list of about 10 MB)"
            debian_sources deb-src "$suite" || return 1
            for version in $(debian_apt apt-cache madison "$source" | cut -d'|' -f2 | tr -d ' ' |
                grep -E "$pattern" | sort -ruV || true); do
                rm -rf "$work/source" && mkdir "$work/source"
                # Debian's own part of it may be gone from the mirror already: only the upstream archive is wanted.
                (cd "$work/source" && debian_apt apt-get source --download-only --only-source "$source=$version") \
                    >"$DEBIAN_APT/source.log" 2>&1 || true
                [ -e "$work/source/$file" ] || continue
                if [ "$(sha256 <"$work/source/$file")" != "$sum" ]; then
                    say "    $file of $source $version is not the expected one"
                    continue
                fi
                mv "$work/source/$file" "$kept"
                break 2
            done
        done
        [ -e "$kept" ] || { say "    Debian has no sources of $source whose version matches $pattern"; return 1; }
    fi
    printf '%s\n' "$kept"
}
