#!/bin/bash
# Runs one lease under Slurm. Written by the Suanwang agent; the same text for every run.
#   batch.sh STATE NAME          as a batch job; NAME is a lease, or the list of an array's leases
#   batch.sh STATE LEASE member  as one task of a gang, under srun
# What to run is in STATE/specs/LEASE.sh; what happened goes to STATE/records/LEASE.*, each file
# written aside and renamed, so that a reader sees all of it or nothing.
set -u
state=$1 lease=$2 role=${3:-batch}
if [ "$role" = batch ] && [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
  lease=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" "$state/submissions/$2.map" 2>/dev/null)
fi
rec=$state/records/$lease
[ -n "$lease" ] && . "$state/specs/$lease.sh" 2>/dev/null || exit 66

uptime_ms() { local s _; read -r s _ </proc/uptime; now=$((10#${s/./} * 10)); }
mtime_ms() { local s; s=$(stat -c %.3Y "$1" 2>/dev/null) && mtime=$((10#${s/./})); }
put() { cat >"$rec.$1.$$" && mv -f "$rec.$1.$$" "$rec.$1"; }

children_cpu_ms() { # user + system time of the children waited for, from `times`
  local line='' word minutes seconds; cpu=0
  times >"$tmp" && { read -r line; read -r line; } <"$tmp"
  for word in $line; do
    minutes=${word%m*} seconds=${word#*m} seconds=${seconds%s}
    cpu=$((cpu + minutes * 60000 + 10#${seconds/./}))
  done
}

# The command's own environment: nothing of Slurm's submitter, ours last so that it stands.
load_environment() {
  local name cards
  [ -n "$SETUP" ] && eval "$SETUP"
  export HOME="$RUN/work" LANG=C.UTF-8
  environment
  for name in ${!SUAN_SECRET_*}; do export "${!name}"; unset "$name"; done
  cards=${SLURM_STEP_GPUS:-${SLURM_JOB_GPUS:-${CUDA_VISIBLE_DEVICES:-}}}
  export SUAN_JOB_ID="$JOB" SUAN_TASK_ID="$TASK" SUAN_LEASE_ID="$lease" SUAN_RUN="$RUN"
  export SUAN_MEMBERS="$MEMBERS" SUAN_MEMBER="$member" SUAN_PEERS="${SUAN_PEERS:-}"
  export SUAN_ACCELERATORS="$cards"
  if [ -n "$ARRAY_INDEX" ]; then export SUAN_ARRAY_INDEX="$ARRAY_INDEX" SUAN_ARRAY_COUNT="$ARRAY_COUNT"; fi
}

# Replaces the (sub)shell by the command; a command that cannot be started is told apart from
# one that returns 127 by the record `nostart`.
launch() {
  local program=${COMMAND[0]} why='no such program'
  load_environment
  trap - TERM USR1 USR2
  ! type -P -- "$program" >/dev/null || exec "${COMMAND[@]}"
  [ ! -e "$program" ] || why='not executable'
  echo "$program: $why" | tee /dev/stderr | put nostart
  exit 127
}

await() { # the exit code of $1, however often a signal interrupts the wait
  while kill -0 "$1" 2>/dev/null; do wait "$1"; done
  wait "$1"; code=$?
}

# What the command left outside its process group; cgroups, where they are, do it too. Known by
# the run's folder: a lease's id is one platform's own, and a node may serve agents of several.
sweep() {
  local round file pids own="/proc/$$/environ"
  for round in 1 2 3 4 5; do
    pids=()
    for file in $(grep -lzxFs "SUAN_RUN=$RUN" /proc/[0-9]*/environ); do
      [ "$file" != "$own" ] && grep -qzxFs "SUAN_MEMBER=$member" "$file" || continue
      file=${file#/proc/}; pids+=("${file%/environ}")
    done
    [ ${#pids[@]} -gt 0 ] && kill -KILL "${pids[@]}" 2>/dev/null || return 0
  done
}

if [ "$role" = member ]; then
  member=$SLURM_PROCID suffix=; tmp=$rec.times.$member
  [ "$member" = 0 ] || suffix=.$member
  exec >>"$RUN/stdout$suffix.log" 2>>"$RUN/stderr$suffix.log"
  cd "$RUN/work" || exit 66
  trap : TERM
  (launch) & await $!
  # the first to fail names the end; a link is made once, whoever is second
  [ "$code" = 0 ] || ln -s "$code" "$rec.first" 2>/dev/null
  sweep
  children_cpu_ms; rm -f "$tmp"
  echo "$cpu" >"$rec.cpu.$member"
  exit "$code"
fi

member=0 cause= code= child= watch= begin=0 rss=0 oom=0 tmp=$rec.times

finish() { # the exit record, then the job's own exit code
  local part more
  uptime_ms; cpu=${spent:-0}
  for part in "$rec".cpu.*; do
    if [ -f "$part" ]; then read -r more <"$part"; cpu=$((cpu + more)); fi
  done
  ask_cgroup
  put exit <<END
cause=$cause
code=$code
detail=$1
wall_ms=$(date +%s%3N)
duration_ms=$((begin > 0 ? now - begin : 0))
cpu_ms=$cpu
rss_mib=$(((rss + 1023) / 1024))
oom=$oom
nodes=${nodes:-}
END
  rm -f "$tmp" "$rec".cpu.* "$rec.clock" "$rec.first" "$rec.nostart"
  case $cause in exit) exit "$code" ;; *) exit 143 ;; esac
}

ask_cgroup() { # peak in KiB and kills for lack of memory, of groups that Slurm made for this job
  local line path file bytes word count
  while read -r line; do
    path=${line##*:}
    case $path in */job_"$SLURM_JOB_ID"*) ;; *) continue ;; esac
    for file in /sys/fs/cgroup"$path"/memory.events \
      /sys/fs/cgroup/memory"$path"/memory.oom_control; do
      [ -r "$file" ] || continue
      while read -r word count; do
        [ "$word" != oom_kill ] || [ "$count" = 0 ] || oom=1
      done <"$file"
    done
    path=${path%%/step_*}
    for file in /sys/fs/cgroup"$path"/memory.peak \
      /sys/fs/cgroup/memory"$path"/memory.max_usage_in_bytes; do
      if [ -r "$file" ] && read -r bytes <"$file"; then
        [ $((bytes / 1024)) -le "$rss" ] || rss=$((bytes / 1024))
      fi
    done
  done </proc/self/cgroup
}

stale() { # contact too old? Ages are between two times of the file server, not of two clocks
  [ -n "$STOP_AFTER_MS" ] || return 1
  local lag=0 mtime=
  read -r lag <"$state/contact" 2>/dev/null || return 0
  mtime_ms "$state/contact" || return 0
  uptime_ms
  [ $((server + now - server_up - mtime + lag)) -gt "$STOP_AFTER_MS" ]
}

sample_memory() { # KiB of everything in the command's process group
  local group size sum=0
  [ "$MEMBERS" = 1 ] || return 0 # the others are on other nodes: no figure is better than half
  while read -r group size; do
    [ "$group" != "$child" ] || sum=$((sum + size))
  done < <(ps -o pgid=,rss= -s "$session" 2>/dev/null)
  [ "$sum" -le "$rss" ] || { rss=$sum; echo "$rss" >"$tmp.rss"; }
}

watchdog() { # time limit and contact, judged here, on the node, with nobody's help
  local step left pause=100
  trap - TERM USR1 USR2
  while :; do
    uptime_ms
    left=$((begin + LIMIT_MS - now))
    [ "$left" -gt 0 ] || { kill -USR1 $$; return; }
    ! stale || { kill -USR2 $$; return; }
    sample_memory
    step=$pause
    [ $((pause *= 2)) -le 20000 ] || pause=20000
    [ -z "$STOP_AFTER_MS" ] || [ "$step" -le $((STOP_AFTER_MS / 8)) ] || step=$((STOP_AFTER_MS / 8))
    [ "$step" -le "$left" ] || step=$left
    [ "$step" -ge 20 ] || step=20
    sleep "$((step / 1000)).$(printf %03d $((step % 1000)))"
  done
}

signal_run() {
  if [ "$MEMBERS" -gt 1 ] && scancel --signal="$1" "$SLURM_JOB_ID.0" 2>/dev/null; then
    [ "$1" = KILL ] || return 0
  fi
  kill -"$1" -- "-$child" 2>/dev/null
}

end_run() { # polite signal now, the kill after the grace; the first cause stands
  [ -z "$cause" ] || return 0
  cause=$1 grace=
  if [ "$cause" = term ] && [ -r "$rec.stop" ]; then
    cause=stopped grace=$(sed -n 's/.*"grace_s":\([0-9]*\).*/\1/p' "$rec.stop")
  fi
  [ -n "$child" ] || return 0
  signal_run TERM
  (sleep "${grace:-$GRACE_S}"; signal_run KILL) & killer=$!
}

refuse() { cause=$1 code=; finish "$2"; }

peers() { # "address:port" of each member, in order; the port is drawn from the job's number
  local node count host port k addresses=
  local -A address=()
  while read -r node host; do address[$node]=$host; done < <(
    scontrol -o show node "$SLURM_JOB_NODELIST" 2>/dev/null |
      sed -n 's/^NodeName=\([^ ]*\).* NodeAddr=\([^ ]*\).*/\1 \2/p')
  port=$((20000 + SLURM_JOB_ID * 61 % 11000))
  local -a counts=()
  for count in ${SLURM_TASKS_PER_NODE//,/ }; do
    k=${count#*x}; k=${k%)}; [ "$k" != "$count" ] || k=1
    while [ $((k--)) -gt 0 ]; do counts+=("${count%%(*}"); done
  done
  tasks=
  for node in ${nodes//,/ }; do
    count=${counts[0]:-1}; counts=("${counts[@]:1}")
    tasks+=${tasks:+,}$count
    for ((k = 0; k < count; k++)); do
      addresses+=${addresses:+,}${address[$node]:-$node}:$((port++))
    done
  done
  export SUAN_PEERS=$addresses
}

# One job runs one lease, once. Slurm may start a job again (a requeue counts its restarts; a
# controller that lost its latest state does not), and after a crash of the agent there may be
# two jobs of one lease: the link is made once, and who comes second goes.
restarts=${SLURM_RESTART_COUNT:-0}
id=$SLURM_JOB_ID.$restarts.$(hostname).$$
if ! ln -s "$id" "$rec.claim" 2>/dev/null; then
  owner=$(readlink "$rec.claim")
  if [ "$owner" != "$id" ]; then
    IFS=. read -r first times _ <<<"$owner"
    [ "$first" = "$SLURM_JOB_ID" ] && [ "$restarts" -gt "$times" ] && [ ! -e "$rec.exit" ] &&
      refuse requeued ""
    exit 67
  fi
fi
trap 'end_run term' TERM
trap 'end_run timeout' USR1
trap 'end_run lease_expired' USR2
: >"$rec.clock" && mtime_ms "$rec.clock" && server=$mtime && uptime_ms && server_up=$now || refuse start_failed "records cannot be written"
[ ! -e "$rec.stop" ] || refuse stopped ""
! stale || refuse lease_expired ""
cd "$RUN/work" 2>/dev/null || refuse start_failed "the working directory is not there"

nodes=$SLURM_JOB_NODELIST tasks=1
case $nodes in *[[,]*) nodes=$(scontrol show hostnames "$nodes" | tr '\n' ',') nodes=${nodes%,} ;; esac
[ "$MEMBERS" = 1 ] || peers
read -r _ _ _ _ _ session _ </proc/self/stat
children_cpu_ms; own=$cpu
uptime_ms; begin=$now
put start <<END
wall_ms=$(date +%s%3N)
nodes=$nodes
tasks=$tasks
job=$SLURM_JOB_ID
END

[ -z "$cause" ] || finish ""
set -m # each background job gets a process group of its own
if [ "$MEMBERS" -gt 1 ]; then
  srun --ntasks="$MEMBERS" --cpus-per-task="$CPUS" --distribution=block --kill-on-bad-exit=1 \
    --export=ALL --input=none $SRUN_WORDS \
    /bin/bash "$BATCH" "$state" "$lease" member >>"$RUN/stderr.log" 2>&1 &
else
  (launch) >>"$RUN/stdout.log" 2>>"$RUN/stderr.log" </dev/null &
fi
child=$!
[ -z "$cause" ] || { again=$cause cause=; end_run "$again"; }
watchdog & watch=$!
set +m
await "$child"
children_cpu_ms; spent=$((cpu - own))
kill -KILL -- "-$watch" 2>/dev/null
[ -z "${killer:-}" ] || { kill "$killer" 2>/dev/null; signal_run KILL; }
sweep
[ ! -r "$tmp.rss" ] || read -r rss <"$tmp.rss"
rm -f "$tmp.rss"
[ -n "$cause" ] || cause=exit
detail=
if [ "$cause" = exit ] && [ -L "$rec.first" ]; then code=$(readlink "$rec.first"); fi
if [ "$cause" = exit ] && [ -r "$rec.nostart" ]; then
  cause=start_failed; read -r detail <"$rec.nostart"
fi
finish "$detail"
