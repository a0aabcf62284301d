//! Whether a camera that gives no frames is there at all: RTSP OPTIONS (RFC 7826 section 13.1), a V4L2 query.
//!
//! Any answer in the protocol counts, a refusal as well: it is the camera's, and not of a network that is down. Of a server
//! that relays (RTMP, HTTP-FLV, HLS) an answer says nothing about the camera behind it, and a file is no camera: both are
//! never asked.

use std::collections::BTreeSet;
use std::time::Duration;

use synoptic_media::{Source, devices};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// For an answer. On a network of cameras it takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// What an answer begins with.
const RTSP: &[u8] = b"RTSP/";
/// Ports of rtsp:// and rtsps:// without one (RFC 7826 section 4.2).
const PORT: u16 = 554;
const TLS_PORT: u16 = 322;

/// Those that answer, all asked at once.
pub(super) async fn of(cameras: impl Iterator<Item = (String, Source)>) -> BTreeSet<String> {
    let mut asked = JoinSet::new();
    for (id, source) in cameras {
        asked.spawn(async move {
            let answered = tokio::time::timeout(PATIENCE, answers(&source)).await;
            answered.unwrap_or(false).then_some(id)
        });
    }
    asked.join_all().await.into_iter().flatten().collect()
}

async fn answers(source: &Source) -> bool {
    match source {
        Source::Rtsp { url, .. } => match options(url).await {
            Ok(answered) => answered,
            Err(error) => {
                log::debug!("health: {url}: {error}");
                false
            }
        },
        Source::V4l2 { device, .. } => {
            let device = device.clone();
            let asked = tokio::task::spawn_blocking(move || devices::answers(&device));
            asked.await.unwrap_or(false)
        }
        Source::Pull { .. } | Source::File { .. } => false,
    }
}

async fn options(url: &str) -> std::io::Result<bool> {
    let address = url::Url::parse(url).map_err(std::io::Error::other)?;
    let tls = address.scheme() == "rtsps";
    let host = address.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = address.port().unwrap_or(if tls { TLS_PORT } else { PORT });
    let mut stream = TcpStream::connect((host, port)).await?;
    if tls {
        // Who takes a connection on the port of RTSP over TLS is taken for the camera: its certificate is not asked for here.
        return Ok(true);
    }
    let request = format!("OPTIONS {url} RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0; RTSP.len()];
    stream.read_exact(&mut head).await?;
    Ok(head == RTSP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use synoptic_media::{PullKind, RtspTransport};
    use tokio::net::TcpListener;

    fn rtsp(url: String) -> Source {
        Source::Rtsp {
            url,
            sub_url: None,
            transport: RtspTransport::Tcp,
            user: None,
            password: None,
            tls_insecure: false,
            tls_ca: None,
        }
    }

    /// Says `answer` to whatever it is asked.
    async fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rtsp://{}/main", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 7];
                stream.read_exact(&mut asked).await.unwrap();
                assert_eq!(&asked, b"OPTIONS");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        url
    }

    #[tokio::test]
    async fn whoever_speaks_the_protocol_is_there() {
        let gone = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            format!("rtsp://{}/", listener.local_addr().unwrap())
        };
        let cameras = [
            ("well", rtsp(server("RTSP/1.0 200 OK\r\n\r\n").await)),
            ("locked", rtsp(server("RTSP/1.0 401 Unauthorized\r\n\r\n").await)),
            ("web", rtsp(server("HTTP/1.1 400 Bad Request\r\n\r\n").await)),
            ("gone", rtsp(gone)),
            (
                "file",
                Source::File {
                    path: "a.mp4".into(),
                    repeat: true,
                },
            ),
            (
                "relayed",
                Source::Pull {
                    kind: PullKind::Rtmp,
                    url: "rtmp://127.0.0.1/x/y".into(),
                    user: None,
                    password: None,
                    tls_insecure: false,
                    tls_ca: None,
                },
            ),
            (
                "no-device",
                Source::V4l2 {
                    device: "/dev/no-such-video".into(),
                    format: None,
                    size: None,
                    fps: None,
                },
            ),
        ];
        let answering = of(cameras.into_iter().map(|(id, source)| (id.to_owned(), source))).await;
        assert_eq!(answering.into_iter().collect::<Vec<_>>(), ["locked", "well"]);
    }
}
