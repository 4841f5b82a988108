# shellcheck shell=bash
# For scripts that run what a page of docs/ says: checks that count, blocks of the page, processes that end with the
# script. Sourced after lib.sh; makes WORK, a folder that is gone with the script. The caller sets PAGE, the page that
# `block` and its like read. A block is marked by a comment in front of it, `<!-- test: NAME -->`.

# need_tools COMMAND:DEBIAN-PACKAGE...: installs what is missing.
need_tools() {
    local tool missing=()
    for tool in "$@"; do
        have "${tool%%:*}" || missing+=("${tool#*:}")
    done
    [ "${#missing[@]}" -eq 0 ] || apt_install "${missing[@]}"
}

WORK="$(mktemp -d)"
running=()

# kill_group SIGNAL PID: what was started here, with its children.
kill_group() { kill "-$1" -- "-$2" 2>/dev/null || true; }

clean_up() {
    local pid
    for pid in ${running[@]+"${running[@]}"}; do kill_group KILL "$pid"; done
    wait 2>/dev/null || true
    rm -rf "$WORK"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

passed=0
failed=0
ok() {
    passed=$((passed + 1))
    printf 'ok %s\n' "$*"
}
not_ok() {
    failed=$((failed + 1))
    printf 'FAILED %s\n' "$*"
}
# check WHAT COMMAND...: one test.
check() {
    local what="$1"
    shift
    if "$@"; then ok "$what"; else not_ok "$what"; fi
}
finish() {
    local word=ok
    [ "$failed" -eq 0 ] || word=FAILED
    printf '\ntest result: %s. %s passed; %s failed; 0 ignored; 0 measured; 0 filtered out\n' "$word" "$passed" "$failed"
    [ "$failed" -eq 0 ]
}
# For what everything after it needs.
give_up() {
    not_ok "$1"
    tail -n 20 "$WORK"/*.log 2>/dev/null || true
    finish
    exit 1
}

# --- the page -----------------------------------------------------------------------------------------------

taken=" "
# block NAME: the body of the fenced block after `<!-- test: NAME -->`, into block.NAME and on stdout.
block() {
    awk -v mark="<!-- test: $1 -->" '
        inside && /^```/ { exit }
        inside { print }
        $0 == mark { marked = 1; next }
        marked && /^```/ { inside = 1; marked = 0 }
    ' "$PAGE" >"$WORK/block.$1"
    [ -s "$WORK/block.$1" ] || die "docs/${PAGE##*/} has no block '$1'"
    cat "$WORK/block.$1"
}
take() {
    taken="$taken${PAGE##*/}:$1 "
    block "$1" >/dev/null
}

# matches TEXT EXPECTED: where EXPECTED has an ellipsis, anything may stand. Ids of requests differ.
matches() {
    local text="$1" pattern="$2"
    text="$(printf '%s' "$text" | sed 's/"id":[0-9][0-9]*/"id":N/g')"
    pattern="$(printf '%s' "$pattern" | sed -e 's/"id":[0-9][0-9]*/"id":N/g' -e 's/[][\\*?]/\\&/g' -e 's/…/*/g')"
    # shellcheck disable=SC2053  # a pattern
    [[ "$text" == $pattern ]]
}

# in_work COMMAND...: in the folder that stands for the reader's.
in_work() { (cd "$WORK" && "$@"); }

run_command() {
    local name="$1" command="$2" expected="$3" found
    found="$(in_work bash -c "$command" 2>&1 </dev/null)" || true
    if matches "$found" "$expected"; then
        ok "$name: $command"
    else
        not_ok "$name: $command"
        printf '  the page shows: %s\n  it is:          %s\n' "$expected" "$found"
    fi
}

# console NAME: each `$ ` line of the block is run, and its output compared with the lines up to the next.
console() {
    take "$1"
    local line command="" expected="" count=0
    while IFS= read -r line; do
        case "$line" in
        '$ '*)
            [ -z "$command" ] || run_command "$1" "$command" "$expected"
            command="${line#??}"
            expected=""
            count=$((count + 1))
            ;;
        *) expected="$expected${expected:+$'\n'}$line" ;;
        esac
    done <"$WORK/block.$1"
    [ "$count" -gt 0 ] || die "block '$1' has no command"
    run_command "$1" "$command" "$expected"
}

# --- processes ----------------------------------------------------------------------------------------------

# Of the last `start`.
started=""
# start LOG COMMAND...: in the background, as a process group of its own.
start() {
    local log="$1"
    shift
    set -m
    in_work "$@" >"$WORK/$log" 2>&1 </dev/null &
    set +m
    started="$!"
    running+=("$started")
    disown "$started"
}

# within SECONDS COMMAND...: until it succeeds.
within() {
    local tries=$(($1 * 20))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.05
    done
}

# Zombies do not count: whoever adopted them may take its time.
is_gone() { ! ps -A -o pgid= -o stat= | awk -v group="$1" '$1 == group && $2 !~ /^Z/ { found = 1 } END { exit !found }'; }

# stop SIGNAL PID
stop() {
    local others=() pid
    kill_group "$1" "$2"
    within 10 is_gone "$2" || return 1
    # Its number may be somebody else's from now on.
    for pid in "${running[@]}"; do [ "$pid" = "$2" ] || others+=("$pid"); done
    running=(${others[@]+"${others[@]}"})
}

# has_status STATUS CURL-ARGUMENT...: 000 is no answer.
has_status() {
    local expected="$1" found
    shift
    found="$(in_work curl -s -o /dev/null -w '%{http_code}' "$@" || true)"
    [ "$found" = "$expected" ] || { echo "  status $found, not $expected"; return 1; }
}

fails() { ! "$@"; }

# all_taken: whether every marked block of PAGE was taken.
all_taken() {
    local name
    while IFS= read -r name; do
        case "$taken" in
        *" ${PAGE##*/}:$name "*) ;;
        *) echo "  nobody runs the block '$name'"; return 1 ;;
        esac
    done < <(sed -n 's/^<!-- test: \(.*\) -->$/\1/p' "$PAGE")
}
