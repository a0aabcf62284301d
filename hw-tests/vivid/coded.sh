# Cameras that code their pictures themselves: v4l2loopback hands on what is written into it. Sourced by guest.sh.
# shellcheck shell=sh
step coded
export SYNOPTIC_CONFIG=/out/coded.toml

# camera DEVICE FOURCC ELEMENT...: GStreamer's v4l2sink does not come to terms with coded formats here, so each picture is
# written into the device: one write, one buffer.
camera() {
    node=$1 fourcc=$2
    shift 2
    /usr/bin/v4l2-ctl -d "$node" --set-ctrl keep_format=1 || return 1
    /usr/bin/v4l2-ctl -d "$node" --set-output-parm=10 --set-fmt-video-out="width=320,height=180,pixelformat=$fourcc" || return 1
    /usr/bin/gst-launch-1.0 -q videotestsrc is-live=true pattern=ball \
        ! video/x-raw,format=I420,width=320,height=180,framerate=10/1 ! "$@" \
        ! filesink location="$node" buffer-mode=unbuffered sync=false >"$fourcc.log" 2>&1 &
    cameras="$cameras $!"
    waits 60 "a camera of $fourcc" offered "$node" "$fourcc"
}
offered() { /usr/bin/v4l2-ctl -d "$1" --list-formats >formats.txt 2>&1 && grep "$2" formats.txt >/dev/null; }
cameras=
camera /dev/video8 MJPG jpegenc || exit 1
camera /dev/video9 H264 x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 \
    ! video/x-h264,stream-format=byte-stream,alignment=au || exit 1

./synoptic devices >coded-devices.txt 2>coded-devices.err || exit 1
./synoptic run >coded-daemon.log 2>&1 &
daemon=$!
answers() { wget -q -O coded-status.json http://127.0.0.1:8080/api/v1/status; }
waits 60 "the daemon" answers || exit 1
: >coded-packets.jsonl
./synoptic packets --follow --json >coded-packets.jsonl 2>coded-packets.err &
packets=$!
waits 60 "20 packets of coded cameras" lines coded-packets.jsonl 20 || exit 1
answers
kill -TERM $daemon
wait $daemon
echo $? >coded-daemon.status
wait $packets
# shellcheck disable=SC2086 # one number a camera
kill $cameras
