//! A reader of RTSP over TCP that knows nothing but RFC 2326, RFC 3550, RFC 6184 and RFC 8285.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use synoptic_engine::timebase::wire::{FrameSei, frame_sei};

const PATIENCE: Duration = Duration::from_secs(30);

/// A picture as its packets tell of it.
pub(super) struct Picture {
    pub(super) rtp: u32,
    /// NTP time in the header of its first packet.
    pub(super) ntp: Option<u64>,
    /// Its header extension: which kind of block, and its bytes.
    pub(super) extension: Option<(u16, Vec<u8>)>,
    pub(super) sei: FrameSei,
}

/// A sender report.
pub(super) struct Report {
    pub(super) ntp: u64,
    pub(super) rtp: u32,
}

#[derive(Default)]
pub(super) struct Heard {
    pub(super) pictures: Vec<Picture>,
    pub(super) reports: Vec<Report>,
}

pub(super) struct Reader {
    stream: BufReader<TcpStream>,
    pub(super) sdp: String,
    /// NTP time of the first packet of the picture that is being read, and its RTP time.
    first: Option<First>,
}

/// Time, NTP time and header extension of the first packet of a picture.
type First = (u32, Option<u64>, Option<(u16, Vec<u8>)>);

/// Status and head of the answer to a DESCRIBE.
pub(super) fn describe(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = connect(address);
    let (status, head, _) = ask(&mut stream, "DESCRIBE", &format!("rtsp://{address}/{path}"), "");
    (status, head)
}

/// What a server says to a DESCRIBE that is not encrypted, up to its end or to two seconds of silence.
pub(super) fn in_the_clear(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let request = format!("DESCRIBE rtsp://{address}/{path} RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = Vec::new();
    // Silence and a connection that is closed are what is hoped for.
    stream.read_to_end(&mut said).ok();
    String::from_utf8_lossy(&said).into_owned()
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

fn ask(stream: &mut BufReader<TcpStream>, method: &str, url: &str, more: &str) -> (u16, String, String) {
    let request = format!("{method} {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n{more}\r\n");
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    answer(stream)
}

fn answer(stream: &mut BufReader<TcpStream>) -> (u16, String, String) {
    // Packets may come before the answer to PLAY (RFC 2326, section 10.12).
    while *stream.fill_buf().unwrap().first().unwrap() == b'$' {
        let mut head = [0; 4];
        stream.read_exact(&mut head).unwrap();
        let mut packet = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
        stream.read_exact(&mut packet).unwrap();
    }
    let mut head = String::new();
    loop {
        let before = head.len();
        stream.read_line(&mut head).unwrap();
        if head[before..].trim().is_empty() {
            break;
        }
    }
    let field = |name: &str| {
        head.lines().find_map(|l| {
            l.to_ascii_lowercase()
                .strip_prefix(name)
                .map(|v| v.trim().to_owned())
        })
    };
    let length = field("content-length:").map_or(0, |l| l.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, String::from_utf8(body).unwrap())
}

impl Reader {
    pub(super) fn play(address: SocketAddr, path: &str) -> Reader {
        let mut stream = connect(address);
        let url = format!("rtsp://{address}/{path}");
        let (status, head, sdp) = ask(&mut stream, "DESCRIBE", &url, "");
        assert_eq!(status, 200, "{head}");
        let control = sdp
            .lines()
            .filter_map(|l| l.strip_prefix("a=control:"))
            .next_back()
            .unwrap();
        let track = match control.starts_with("rtsp://") {
            true => control.to_owned(),
            false => format!("{url}/{control}"),
        };
        let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
        let (status, head, _) = ask(&mut stream, "SETUP", &track, transport);
        assert_eq!(status, 200, "{head}");
        let session = head
            .lines()
            .find_map(|l| l.strip_prefix("Session: "))
            .and_then(|s| s.split(';').next())
            .unwrap()
            .to_owned();
        let (status, head, _) = ask(&mut stream, "PLAY", &url, &format!("Session: {session}\r\n"));
        assert_eq!(status, 200, "{head}");
        Reader {
            stream,
            sdp,
            first: None,
        }
    }

    /// The next packet and its channel; `None` at the end.
    fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let buffer = self.stream.fill_buf().ok()?;
            if *buffer.first()? == b'$' {
                break;
            }
            answer(&mut self.stream);
        }
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).ok()?;
        let mut packet = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
        self.stream.read_exact(&mut packet).ok()?;
        Some((head[1], packet))
    }

    /// Listens until there are as many of each.
    pub(super) fn hear(&mut self, reports: usize, pictures: usize) -> Heard {
        let mut heard = Heard::default();
        while heard.reports.len() < reports || heard.pictures.len() < pictures {
            let (channel, packet) = self.packet().expect("the server went silent");
            match channel {
                0 => heard.pictures.extend(self.rtp(&packet)),
                _ => heard.reports.extend(report(&packet)),
            }
        }
        heard
    }

    /// A BYE, or the end of the connection.
    pub(super) fn hears_the_end(&mut self) {
        while let Some((channel, packet)) = self.packet() {
            let mut rest = packet.as_slice();
            while channel == 1 && rest.len() >= 4 {
                if rest[1] == 203 {
                    return;
                }
                let length = 4 * (usize::from(u16::from_be_bytes([rest[2], rest[3]])) + 1);
                rest = &rest[length.min(rest.len())..];
            }
        }
    }

    fn rtp(&mut self, packet: &[u8]) -> Option<Picture> {
        let rtp = u32::from_be_bytes(packet[4..8].try_into().unwrap());
        let mut at = 12 + 4 * usize::from(packet[0] & 15);
        let (mut ntp, mut block) = (None, None);
        if packet[0] & 0x10 != 0 {
            let words = usize::from(u16::from_be_bytes([packet[at + 2], packet[at + 3]]));
            let extension = &packet[at + 4..at + 4 + 4 * words];
            if extension.first() == Some(&0x17) {
                ntp = Some(u64::from_be_bytes(extension[1..9].try_into().unwrap()));
            }
            block = Some((
                u16::from_be_bytes([packet[at], packet[at + 1]]),
                extension.to_vec(),
            ));
            at += 4 + 4 * words;
        }
        if self.first.as_ref().is_none_or(|(of, ..)| *of != rtp) {
            self.first = Some((rtp, ntp, block));
        }
        let payload = &packet[at..];
        let nals = match payload[0] & 0x1f {
            1..=23 => vec![payload],
            24 => {
                let mut rest = &payload[1..];
                let mut nals = Vec::new();
                while rest.len() > 2 {
                    let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                    nals.push(&rest[2..2 + length]);
                    rest = &rest[2 + length..];
                }
                nals
            }
            _ => Vec::new(),
        };
        let sei = nals
            .into_iter()
            .filter(|n| n[0] & 0x1f == 6)
            .find_map(|n| frame_sei(n, 1))?;
        let (_, ntp, extension) = self.first.clone()?;
        Some(Picture {
            rtp,
            ntp,
            extension,
            sei,
        })
    }
}

pub(super) fn report(compound: &[u8]) -> Option<Report> {
    let is = compound.get(1) == Some(&200) && compound.len() >= 28;
    is.then(|| Report {
        ntp: u64::from_be_bytes(compound[8..16].try_into().unwrap()),
        rtp: u32::from_be_bytes(compound[16..20].try_into().unwrap()),
    })
}
