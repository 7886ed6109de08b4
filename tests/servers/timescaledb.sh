#!/bin/sh
# Finds or makes the TimescaleDB that the tests run on, and prints where it is: "BIN_DIR" on this machine, or
# "BIN_DIR ROOT" for one in a folder of its own, to be run with chroot.
#
#   timescaledb.sh find      prints it, or says on stderr why there is none and exits with 3; changes nothing
#   timescaledb.sh prepare   makes it first if need be: Debian 13's packages in a folder, about a minute and 300 MB
#   timescaledb.sh remove    takes the folder away
#
# A folder, because Debian 12 has no such package, and because a database server that was installed on the machine
# itself would also start there. Nothing is ever mounted in it. Set STOPLINE_DEBIAN_MIRROR for another mirror.
set -eu

recipe=1 # raise it when the folder must be made differently: older ones are then replaced
pg=17
bin_dir=/usr/lib/postgresql/$pg/bin
cache=${STOPLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/stopline}
root=$cache/timescaledb-$pg
mirror=${STOPLINE_DEBIAN_MIRROR:-}

say() { printf 'timescaledb: %s\n' "$*" >&2; }

on_this_machine() {
    for library in /usr/lib/postgresql/1[5-8]/lib/timescaledb.so; do
        if [ -e "$library" ]; then
            echo "${library%/lib/*}/bin"
            return 0
        fi
    done
    return 1
}

folder_works() {
    [ "$(cat "$root/stopline-recipe" 2>/dev/null)" = "$recipe" ] &&
        [ -e "$root/usr/lib/postgresql/$pg/lib/timescaledb.so" ] &&
        chroot "$root" "$bin_dir/postgres" --version >/dev/null 2>&1
}

find_it() {
    on_this_machine && return 0
    if [ "$(id -u)" -ne 0 ]; then
        say "not installed, and only root can use one in a folder of its own." \
            "Run the tests as root, or install the package postgresql-$pg-timescaledb (Debian 13 has it)."
        return 3
    fi
    if folder_works; then
        echo "$bin_dir $root"
        return 0
    fi
    say "not there yet, or broken. 'make servers' makes it in $root."
    return 3
}

remove_folder() {
    [ -e "$1" ] || return 0
    if grep -qF " $1/" /proc/self/mounts; then
        say "something is mounted below $1; unmount it, and try again"
        exit 1
    fi
    rm -rf --one-file-system -- "$1"
}

make_folder() {
    if ! command -v debootstrap >/dev/null; then
        say "installing debootstrap"
        apt-get -qq update >&2
        DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y \
            debootstrap debian-archive-keyring </dev/null >&2
    fi
    new=$root.new.$$
    trap 'remove_folder "$new"' EXIT
    trap 'exit 130' INT TERM HUP
    log=$cache/timescaledb.log
    say "making $root (about a minute; log: $log)"
    if ! fill_folder >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        say "could not make it: see above, and $log. Is ${mirror:-the mirror of Debian} within reach?"
        exit 3
    fi
    remove_folder "$root"
    mv "$new" "$root"
    trap - EXIT INT TERM HUP
}

fill_folder() {
    debootstrap --variant=minbase trixie "$new" ${mirror:+"$mirror"} || return 1
    # No server of its own may start, in the folder or from it.
    printf '#!/bin/sh\nexit 101\n' >"$new/usr/sbin/policy-rc.d" && chmod 755 "$new/usr/sbin/policy-rc.d" || return 1
    mkdir -p "$new/etc/postgresql-common" || return 1
    echo 'create_main_cluster = false' >"$new/etc/postgresql-common/createcluster.conf" || return 1
    DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot "$new" \
        apt-get install --no-install-recommends -y "postgresql-$pg-timescaledb" || return 1
    chroot "$new" apt-get clean || return 1
    chroot "$new" "$bin_dir/postgres" --version || return 1
    echo "$recipe" >"$new/stopline-recipe"
}

prepare() {
    if on_this_machine >/dev/null || [ "$(id -u)" -ne 0 ]; then
        find_it
        return
    fi
    case $cache in
    *[[:space:]]*)
        say "debootstrap fills no folder with a blank in its path: $cache. Set STOPLINE_CACHE."
        exit 3
        ;;
    esac
    mkdir -p "$cache"
    exec 9>"$cache/timescaledb.lock"
    flock 9 # two runs at once: the second waits, and finds it made
    folder_works || make_folder
    find_it
}

case ${1:-} in
find) find_it ;;
prepare) prepare ;;
remove) remove_folder "$root" ;;
*)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
    exit 2
    ;;
esac
