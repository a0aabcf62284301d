//! What is learned of a camera's clocks outlives what it was learned from: better times are told, delays are kept.

use synoptic_app::documents::{SystemEventDoc, SystemEventType};
use synoptic_base::Span;
use synoptic_sim::camera::CameraOptions;

use crate::daemon::{Daemon, cam};
use crate::harness::{Stage, camera, rtsp_camera, views};
use crate::mqtt::{Listener, Message};

#[test]
fn better_times_are_told_and_a_learned_delay_narrows_the_next_start() {
    let Some(stage) = Stage::set() else { return };
    let mut options = views(1).swap_remove(0);
    let sim = camera(&options);
    let url = sim.url();
    let config = stage.configure(&rtsp_camera("street", &url, ""));
    let listener = Listener::start(stage.broker.port, "witness");
    let mut daemon = Daemon::start(&config);
    let live = daemon.live();

    // The first frames were timed by their arrival; the first reports know better.
    let told: SystemEventDoc = listener
        .until("a restamp over MQTT", |m| m.topic == "event/restamp")
        .read();
    assert_eq!(
        (told.kind, told.cam.as_deref()),
        (SystemEventType::Restamp, Some("street"))
    );
    let better = told.restamp.clone().unwrap();
    let status = daemon.until("a learned delay", |s| {
        let time = &cam(s, "street").time;
        time.source.as_deref() == Some("sender_report")
            && time.doctor.as_ref().is_some_and(|d| d.delay_ms.is_some())
    });
    let street = cam(&status, "street");
    assert_eq!(better.epoch, street.stream.as_ref().unwrap().epoch);
    assert_eq!(better.since_us, 0, "since the first frame of the epoch");
    assert!(better.until_us >= better.since_us);
    // On a busy machine the first reports were read late, and say so; later ones were not.
    let sharp = |m: &Message| {
        let told = (m.topic == "event/restamp").then(|| m.read::<SystemEventDoc>().restamp.unwrap());
        told.is_some_and(|r| r.since.rel_error_ms < 60.0 && r.since.source == "sender_report")
    };
    listener.until("a restamp within 60 ms by sender reports", sharp);
    let seen = live.until("a restamp over server-sent events", "event", |e| {
        e["type"] == "restamp"
    });
    assert_eq!(
        (&seen["cam"], &seen["restamp"]["epoch"]),
        (&"street".into(), &better.epoch.into())
    );
    // Asked for by name only: there are many, and few want them.
    let page = daemon.get("/api/v1/events?type=restamp&cam=street").unwrap();
    assert!(String::from_utf8(page).unwrap().contains(&told.id));

    assert_eq!(daemon.stop().0.code(), Some(0));
    let kept = std::fs::read_to_string(stage.path("data/camera-delays.json")).unwrap();
    assert!(kept.contains("\"street\""), "{kept}");

    // The same camera, whose reports come once in an hour: what was learned stands for them.
    drop(sim);
    options.port = port_of(&url);
    options.report_interval = Span::from_secs(3_600);
    let sim = camera(&CameraOptions { ..options });
    assert_eq!(sim.url(), url);
    let mut daemon = Daemon::start(&config);
    let status = daemon.until("times by arrival", |s| {
        let street = cam(s, "street");
        street.time.source.as_deref() == Some("arrival") && street.traffic.frames_decoded > 30
    });
    let bound = cam(&status, "street").time.uncertainty_ms.unwrap();
    assert!(
        bound < 60.0,
        "± {bound} ms, as if nothing had been learned (± 87 ms)"
    );
    assert_eq!(daemon.stop().0.code(), Some(0));
}

fn port_of(url: &str) -> u16 {
    let (_, rest) = url.split_once("://").unwrap();
    let (host, _) = rest.split_once('/').unwrap();
    host.rsplit(':').next().unwrap().parse().unwrap()
}
