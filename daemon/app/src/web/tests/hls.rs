//! HLS over real sockets: a simulated camera, the real relay, ffmpeg as a player; hls.js plays it in the page's tests.

use std::process::Command;

use synoptic_engine::timebase::wire::{FrameSei, frame_sei};

use super::streams::{live, probe};
use super::*;

const PLAYLIST: &str = "/live/a/index.m3u8";

/// Names behind a tag or after it, in order.
fn named<'a>(playlist: &'a str, kind: &str) -> Vec<&'a str> {
    playlist
        .split(['"', '\n'])
        .filter(|word| word.starts_with(kind))
        .collect()
}

fn number(playlist: &str, tag: &str) -> f64 {
    let at = playlist.find(tag).unwrap_or_else(|| panic!("{tag}: {playlist}")) + tag.len();
    let text = playlist[at..].split([',', '\n']).next().unwrap();
    text.parse().unwrap_or_else(|e| panic!("{tag}{text}: {e}"))
}

fn pause() {
    let (_never, pause) = crossbeam_channel::bounded::<()>(0);
    pause.recv_timeout(Duration::from_millis(10)).ok();
}

/// The playlist once `enough` says so, waiting by `_HLS_msn` and `_HLS_part`.
fn until(server: &Server, what: &str, mut enough: impl FnMut(&str) -> bool) -> String {
    let mut path = PLAYLIST.to_owned();
    for _ in 0..2_000 {
        let answer = server.get(&path);
        if answer.status == 503 {
            pause(); // before the first picture
            continue;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("content-type"), "application/vnd.apple.mpegurl");
        let text = answer.text();
        if enough(&text) {
            return text;
        }
        let ended = text.rfind("#EXTINF").map_or("", |at| &text[at..]);
        let msn = number(&text, "MEDIA-SEQUENCE:") as usize + text.matches("#EXTINF").count();
        let parts = if ended.is_empty() { text.as_str() } else { ended };
        let part = parts.matches("#EXT-X-PART:").count();
        path = format!("{PLAYLIST}?_HLS_msn={msn}&_HLS_part={part}");
    }
    panic!("{what} never came");
}

/// Our SEI in the first picture of a file.
fn first_sei(file: &[u8]) -> FrameSei {
    let at = file.windows(4).position(|w| w == b"mdat").expect("no samples") + 4;
    // The first NAL unit behind its length.
    let length = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    frame_sei(&file[at + 4..at + 4 + length], 1).expect("no SEI of ours")
}

#[test]
fn segments_are_dated_by_the_capture_of_their_first_picture_and_parts_come_as_they_are_made() {
    let server = Server::start(OPEN);
    server.hub.relay.set_clock_map(map());
    let _live = live(&server, Rotation::None);
    let playlist = until(&server, "three segments", |text| {
        text.matches("#EXTINF").count() >= 3
    });
    assert!(playlist.contains("CAN-BLOCK-RELOAD=YES"), "{playlist}");
    let part_target = number(&playlist, "PART-TARGET=");
    assert!(number(&playlist, "PART-HOLD-BACK=") >= 2.0 * part_target);
    let longest = number(&playlist, "TARGETDURATION:");
    for line in playlist.lines() {
        if let Some(length) = line.strip_prefix("#EXTINF:") {
            assert!(
                length.trim_end_matches(',').parse::<f64>().unwrap().round() <= longest,
                "{playlist}"
            );
        }
        if line.starts_with("#EXT-X-PART:") {
            assert!(number(line, "DURATION=") <= part_target, "{playlist}");
        }
    }
    let mut file = server
        .get(&format!("/live/a/{}", named(&playlist, "init-")[0]))
        .body;
    let dates: Vec<Utc> = playlist
        .lines()
        .filter_map(|l| l.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:"))
        .map(|date| Utc::from_rfc3339(date).unwrap())
        .collect();
    let mut firsts = Vec::new();
    for (name, date) in named(&playlist, "seg-").into_iter().zip(&dates) {
        let segment = server.get(&format!("/live/a/{name}"));
        assert_eq!(segment.header("content-type"), "video/mp4");
        let sei = first_sei(&segment.body);
        firsts.push(sei.key.media_us.as_micros());
        assert!(
            (sei.utc - *date).abs() <= Span::from_micros(1),
            "{name}: {date} for {}",
            sei.utc
        );
        file.extend(segment.body);
    }
    // What the playlist says of lengths is what lies between the keys.
    let lengths = playlist.lines().filter_map(|l| l.strip_prefix("#EXTINF:"));
    for (length, keys) in lengths.zip(firsts.windows(2)) {
        let length: f64 = length.trim_end_matches(',').parse().unwrap();
        let between = (keys[1] - keys[0]) as f64 / 1e6;
        assert!(
            (length - between).abs() < 2e-5,
            "{length} for {between}: {playlist}"
        );
    }
    // A segment is its parts, one after the other.
    let listed = &playlist[playlist.find("#EXT-X-PART:").unwrap()..];
    let end = listed.find("seg-").unwrap();
    let parts = named(&listed[..end], "part-");
    let joined: Vec<u8> = parts
        .iter()
        .flat_map(|p| server.get(&format!("/live/a/{p}")).body)
        .collect();
    let name = named(listed, "seg-")[0];
    assert!(
        server.get(&format!("/live/a/{name}")).body == joined,
        "{name} of {parts:?}"
    );
    // The next part is not there yet: it is waited for.
    let hinted = named(&playlist, "part-").pop().unwrap();
    assert_eq!(
        first_sei(&server.get(&format!("/live/a/{hinted}")).body)
            .key
            .epoch,
        Epoch(3)
    );
    if let Some(packets) = probe(server.dir.path(), "a.mp4", &file) {
        let times: Vec<i64> = packets.iter().map(|p| p["pts"].as_i64().unwrap()).collect();
        assert_eq!(times[0], firsts[0], "the media time of the key");
    }
    assert_eq!(
        server.get("/api/v1/streams").json()[0]["viewers"],
        1,
        "one reader for all"
    );
}

#[test]
fn ffmpeg_plays_the_address_that_the_api_names() {
    let server = Server::start(OPEN);
    server.hub.relay.set_clock_map(map());
    let _live = live(&server, Rotation::None);
    until(&server, "a segment", |text| text.contains("#EXTINF"));
    let url = server.get("/api/v1/streams").json()[0]["urls"]["hls"].clone();
    assert_eq!(url, PLAYLIST);
    let run = Command::new("timeout")
        .args([
            "60",
            "ffprobe",
            "-v",
            "error",
            "-read_intervals",
            "%+#20",
            "-show_frames",
            "-of",
            "json",
        ])
        .arg(server.url(PLAYLIST))
        .output();
    let Ok(out) = run.map_err(|e| eprintln!("SKIPPED: ffprobe: {e}")) else {
        return;
    };
    if !out.status.success() && String::from_utf8_lossy(&out.stderr).contains("No such file") {
        eprintln!("SKIPPED: no ffprobe");
        return;
    }
    let doc: Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)));
    let frames = doc["frames"].as_array().unwrap();
    assert!(frames.len() >= 20, "{} frames", frames.len());
    assert_eq!(
        (&frames[0]["width"], &frames[0]["key_frame"]),
        (&json!(640), &json!(1))
    );
}

#[test]
fn what_is_turned_is_coded_while_somebody_asks_and_no_longer() {
    let server = Server::start(OPEN);
    let _live = live(&server, Rotation::Quarter);
    let playlist = until(&server, "a part", |text| text.contains("#EXT-X-PART:"));
    let listed = || server.get("/api/v1/streams").json()[0].clone();
    assert_eq!(
        (&listed()["viewers"], &listed()["transcoded"]),
        (&json!(1), &json!("rotation"))
    );
    assert!(server.hub.relay.stream(id("a")).wants_pixels());
    server.clock.advance(Span::from_secs(60));
    let gone = (0..3_000).any(|_| {
        pause();
        !server.hub.relay.stream(id("a")).wants_pixels()
    });
    assert!(gone, "it is coded for nobody");
    let name = named(&playlist, "init-")[0];
    server.get(&format!("/live/a/{name}")).problem(404);
    // And from the beginning.
    let again = until(&server, "a part", |text| text.contains("#EXT-X-PART:"));
    let sequence = |text: &str| number(text, "MEDIA-SEQUENCE:");
    assert!(sequence(&again) >= sequence(&playlist));
}

#[test]
fn who_waits_hears_at_once_that_the_stream_went_down() {
    let server = Server::start(OPEN);
    let live = live(&server, Rotation::None);
    let playlist = until(&server, "a part", |text| text.contains("#EXT-X-PART:"));
    drop(live);
    let stream = server.hub.relay.stream(id("a"));
    let next = number(&playlist, "MEDIA-SEQUENCE:") as usize + playlist.matches("#EXTINF").count() + 1;
    // One that is not there yet: it waits, and is answered long before the three target durations are over.
    let waits = std::thread::scope(|threads| {
        let asks = threads.spawn(|| server.get(&format!("{PLAYLIST}?_HLS_msn={next}")));
        stream.waiting("the camera is away");
        asks.join().unwrap()
    });
    for answer in [waits, server.get(PLAYLIST)] {
        assert_eq!(answer.header("retry-after"), "1");
        let problem = answer.problem(503);
        assert!(
            problem["detail"].as_str().unwrap().contains("is away"),
            "{problem}"
        );
    }
    // What there is can be loaded still.
    let init = named(&playlist, "init-")[0];
    assert_eq!(server.get(&format!("/live/a/{init}")).status, 200);
    server.hub.relay.remove(&id("a"));
}

#[test]
fn mistakes_are_told_and_the_door_is_that_of_the_rest() {
    let server = Server::start(OPEN);
    let problem = server.get("/live/none/index.m3u8").problem(404);
    assert!(problem["detail"].as_str().unwrap().contains("none"));
    server.hub.relay.stream(id("a")).waiting("the camera is away");
    let away = server.get(PLAYLIST).problem(503);
    assert!(
        away["detail"].as_str().unwrap().contains("the camera is away"),
        "{away}"
    );
    for nothing in [
        "/live/a/x.m3u8",
        "/live/a/seg-1.m4s",
        "/live/a/part-1.mp4",
        "/live/a/init-9.mp4",
    ] {
        server.get(nothing).problem(404);
    }
    server.get(&format!("{PLAYLIST}?_HLS_part=1")).problem(400);
    server.get(&format!("{PLAYLIST}?_HLS_msn=x")).problem(400);
    let _live = live(&server, Rotation::None);
    let playlist = until(&server, "a part", |text| text.contains("#EXT-X-PART:"));
    let far = number(&playlist, "MEDIA-SEQUENCE:") + 1_000.0;
    server.get(&format!("{PLAYLIST}?_HLS_msn={far}")).problem(400);
    let closed = Server::start(CLOSED);
    assert_eq!(closed.get(PLAYLIST).status, 401);
}
