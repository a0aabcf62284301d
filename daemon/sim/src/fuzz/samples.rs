//! Samples as real senders write them, to be mutated.

use synoptic_base::Utc;
use synoptic_engine::timebase::wire::synoptic_sei;

fn flv_tag(kind: u8, at_ms: u32, body: &[u8]) -> Vec<u8> {
    let mut v = vec![0, 0, 0, 0, kind];
    v.extend(&(body.len() as u32).to_be_bytes()[1..]);
    let [t3, t0, t1, t2] = at_ms.to_be_bytes();
    v.extend([t0, t1, t2, t3, 0, 0, 0]);
    v.extend(body);
    v
}

fn amf_text(s: &str) -> Vec<u8> {
    let mut v = vec![2];
    v.extend((s.len() as u16).to_be_bytes());
    v.extend(s.as_bytes());
    v
}

fn script(name: &str, fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut body = amf_text(name);
    body.extend([8, 0, 0, 0, fields.len() as u8]);
    for (key, value) in fields {
        body.extend(&amf_text(key)[1..]);
        body.extend(value);
    }
    body.extend([0, 0, 9]);
    body
}

fn scripts() -> Vec<Vec<u8>> {
    let mut date = vec![11];
    date.extend(1_795_000_000_500.0_f64.to_be_bytes());
    date.extend([0, 0]);
    vec![
        script(
            "onFI",
            &[("sd", amf_text("21-11-2026")), ("st", amf_text("10:00:00.250"))],
        ),
        script(
            "onMetaData",
            &[("width", vec![0, 0x40, 0x84, 0, 0, 0, 0, 0, 0]), ("utc", date)],
        ),
        script(
            "onMetaData",
            &[("creationtime", amf_text("2026-11-21T10:00:00Z"))],
        ),
    ]
}

fn flv() -> Vec<u8> {
    let mut v = b"FLV\x01\x05\0\0\0\x09".to_vec();
    v.extend(flv_tag(18, 0, &scripts()[1]));
    v.extend(flv_tag(
        9,
        0,
        b"\x17\0\0\0\0\x01\x42\xc0\x1e\xff\xe1\0\x04\x67\x42\xc0\x1e\x01\0\x04\x68\xce\x3c\x80",
    ));
    v.extend(flv_tag(8, 10, b"\xaf\x01sound"));
    v.extend(flv_tag(
        9,
        16_777_000,
        b"\x27\x01\0\0\x42\0\0\0\x05\x65\x88\x84\0\x10",
    ));
    v.extend(flv_tag(9, 67, b"\x91hvc1\0\0\x10\0\0\0\x03\x26\x01\xaf"));
    v
}

fn ts() -> Vec<u8> {
    let packet = |pid: u16, payload: &[u8]| {
        let [hi, lo] = pid.to_be_bytes();
        let mut p = vec![0x47, hi | 0x40, lo, 0x30];
        let stuffing = 184 - payload.len();
        p.push((stuffing - 1) as u8);
        p.extend(std::iter::repeat_n(0xff, stuffing - 1));
        p.extend(payload);
        p
    };
    let mut v = packet(0, &[0, 0, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0, 0, 0, 0, 0]);
    v.extend(packet(
        0x1000,
        &[
            0, 2, 0xb0, 18, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0, 0, 0, 0, 0,
        ],
    ));
    let pes = [
        0, 0, 1, 0xe0, 0, 0, 0x80, 0xc0, 10, 0x31, 0, 1, 0x5f, 0x91, 0x11, 0, 1, 0x47, 0x21, 0, 0, 0, 1, 9,
        0xf0, 0, 0, 1, 0x65, 1, 2,
    ];
    v.extend(packet(0x100, &pes));
    v.extend(packet(0x100, &pes));
    v
}

fn words(lines: &[u32]) -> Vec<u8> {
    lines.iter().flat_map(|w| w.to_be_bytes()).collect()
}

/// Real samples of what a target reads; none for those that are driven by steps.
pub fn samples(target: &str) -> Vec<Vec<u8>> {
    let text = |t: &str| t.as_bytes().to_vec();
    let mut sei = vec![6];
    sei.extend(synoptic_sei(Utc::from_nanos(1_795_000_000_000_000_000)));
    sei.push(0x80);
    match target {
        "flv" => vec![flv()],
        "flv_script" => scripts(),
        "ts" => vec![ts()],
        "m3u8" => vec![
            text(
                "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:2.0,\n\
                 #EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:00.250+0000\nlive7.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:1.5,\n\
                 live8.ts\n#EXT-X-BYTERANGE:100@50\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n",
            ),
            text("#EXTM3U\n#EXT-X-STREAM-INF:CODECS=\"avc1,mp4a\",BANDWIDTH=1280000\nlow.m3u8\n"),
        ],
        "sei" => vec![
            sei,
            [
                &[6, 5, 28][..],
                b"MISPmicrosectime",
                b"\x1f\0\x05\xff\xb1\x2c\xff\x33\x44\xff\x55\x66\x80",
            ]
            .concat(),
        ],
        "hdrext" => vec![
            words(&[
                0x9060_0001,
                90_000,
                7,
                0xbede_0003,
                0x1700_0000,
                0xeabc_0000,
                0x8000_0000,
                0x65,
            ]),
            words(&[
                0x9060_0001,
                90_000,
                7,
                0xabac_0003,
                0xeabc_0000,
                0x8000_0000,
                0x8000_0001,
                0x65,
            ]),
            words(&[
                0x9060_0001,
                90_000,
                7,
                0x1000_0003,
                0x0308_eabc,
                0,
                0x8000_0000,
                0x65,
            ]),
        ],
        "refclk" => vec![
            text("ptp=IEEE1588-2008:39-A7-94-FF-FE-07-CB-D0:0\ndirect=963214424"),
            text("ntp=203.0.113.10\ndirect=0"),
            text("localmac=12-34-56-78-9a-bc\nsender"),
        ],
        "rtcp" => vec![
            words(&[0x80c8_0006, 0xdead_beef, 0xeabc_0000, 0x8000_0000, 90_000, 1, 2]),
            words(&[
                0x80c9_0001,
                1,
                0x81c8_000c,
                7,
                0xeabc_0000,
                0,
                1,
                1,
                1,
                1,
                0,
                0,
                0,
                0,
                0,
                0,
            ]),
        ],
        "nal" => vec![
            [&[0, 0, 1][..], &sei, &[0, 0, 1, 0x65, 0x88, 0x84]].concat(),
            vec![0, 0, 0, 2, 9, 0xf0, 0, 0, 0, 4, 0x41, 0x9a, 0x24, 0x6c],
            vec![0, 0, 0, 1, 0x40, 1, 0, 0, 1, 0x26, 1, 0xaf],
            // H.265: a picture parameter set with two extra bits, and a slice that names it.
            vec![0, 0, 0, 1, 0x44, 1, 0xc5, 0, 0, 1, 0x02, 1, 0xe8],
        ],
        _ => Vec::new(),
    }
}
