# What happens inside the machine; results go to /out and are judged by check.py on the host.
# shellcheck shell=sh
cd /out || exit 1
export HOME=/tmp NO_COLOR=1 SYNOPTIC_CONFIG=/out/synoptic.toml
export GST_PLUGIN_SYSTEM_PATH=/out/plugins GST_REGISTRY=/tmp/registry.bin GST_REGISTRY_FORK=no
LD_LIBRARY_PATH=$(cat /out/libraries)
export LD_LIBRARY_PATH
tracing=/sys/kernel/tracing
echo mono >$tracing/trace_clock
echo 4096 >$tracing/buffer_size_kb

step() { echo "$(cut -d' ' -f1 /proc/uptime) $*"; }

# waits SECONDS WHAT COMMAND...: until COMMAND succeeds.
waits() {
    left=$(($1 * 5))
    what=$2
    shift 2
    until "$@"; do
        left=$((left - 1))
        if [ $left -le 0 ]; then
            echo "FAILED: waited in vain for $what"
            return 1
        fi
        sleep 0.2
    done
}
# said TEXT TIMES: whether the daemon's log has it as often.
said() { [ "$(grep -c "$1" daemon.log)" -ge "$2" ]; }
lines() { [ "$(wc -l <"$1")" -ge "$2" ]; }
# The newest packet is of epoch $1 or later for both cameras.
epochs() {
    tail -n 1 packets.jsonl | grep -E "\"left/([$1-9])/.*\"right/([$1-9])/" >/dev/null
}

step devices
./synoptic devices >devices.txt 2>devices.err || exit 1
step probe
./synoptic probe --seconds 3 --json /dev/video0 >probe.json 2>probe.err || exit 1

# One camera stamps the end of a frame, as vivid does by itself, the other the start of its exposure.
/usr/bin/v4l2-ctl -d /dev/video1 --set-ctrl timestamp_source=1 || exit 1

step run
echo 1 >$tracing/events/v4l2/v4l2_dqbuf/enable
./synoptic run >daemon.log 2>&1 &
daemon=$!
waits 60 "both cameras" said ": online" 2 || exit 1
: >packets.jsonl
./synoptic packets --follow --json >packets.jsonl 2>packets.err &
packets=$!
waits 60 "60 packets" lines packets.jsonl 60 || exit 1
# When is now, on both clocks: the shell reads UTC, the kernel notes it with its monotonic time. No program is started
# between the two, and the quickest of several counts.
for try in 1 2 3 4 5 6 7 8; do
    # shellcheck disable=SC3028 # busybox' shell knows it
    echo "utc $EPOCHREALTIME $try" >$tracing/trace_marker
done

step "a second program wants a camera that is in use"
./synoptic probe --seconds 1 --json /dev/video0 >busy.json 2>busy.err
step unplug
echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind
waits 20 "word of the unplugged cameras" said unplugged 2 || exit 1
sleep 1
wget -q -O metrics.txt http://127.0.0.1:8080/metrics
cat $tracing/trace >trace-first.txt
step "plug in again"
echo vivid.0 >/sys/bus/platform/drivers/vivid/bind
waits 60 "packets of a second epoch" epochs 2 || exit 1

step stop
kill -TERM $daemon
wait $daemon
echo $? >daemon.status
wait $packets
cat $tracing/trace >trace.txt

if [ -e /dev/video8 ]; then
    # shellcheck source=hw-tests/vivid/coded.sh
    . /out/coded.sh
fi
step end
