# nicesrc and nicesink, which webrtcbin sends and receives by.
PACKAGECONFIG:append = " gstreamer"
