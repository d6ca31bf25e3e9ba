#!/bin/sh
# What the tests need beside Python. As root on Debian it is installed; elsewhere this says what
# will be skipped. With CI=true a missing component is an error.
set -u
packages="slurmctld slurmd slurm-client slurmdbd munge slurm-wlm-mysql-plugin slurm-wlm-basic-plugins
mariadb-server postgresql bubblewrap chromium fonts-noto-cjk iproute2 wrk"
programs="slurmctld:Slurm slurmd:Slurm squeue:Slurm slurmdbd:Slurm-accounting munged:Slurm
mariadbd:Slurm-accounting bwrap:isolation chromium:the-portal wrk:load ip:network-cuts"
if [ "$(uname -m)" = x86_64 ]; then
    packages="$packages user-mode-linux"
    programs="$programs linux.uml:control-groups-of-version-2"
fi

missing() {
    for pair in $programs; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null 2>&1 || echo "$pair"
    done
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || echo "initdb:PostgreSQL"
}

[ -z "$(missing)" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing what the tests need (apt): Slurm, PostgreSQL, bubblewrap, Chromium, fonts"
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends $packages; } >"$log" 2>&1 ||
        { echo "apt-get failed:"; tail -n 20 "$log"; }
    rm -f "$log"
fi
for pair in $(missing); do
    echo "not found: ${pair%%:*}; the tests of ${pair##*:} will be skipped"
done
if [ -n "$(missing)" ] && [ "${CI:-}" = true ]; then
    echo "CI runs all of the tests: install the programs above." >&2
    exit 1
fi
exit 0
