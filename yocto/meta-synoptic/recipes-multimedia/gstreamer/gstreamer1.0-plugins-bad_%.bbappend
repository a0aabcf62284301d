# Live video by WebRTC: webrtcbin and its library, which the daemon links, with DTLS and SRTP.
PACKAGECONFIG:append = " webrtc dtls srtp"
