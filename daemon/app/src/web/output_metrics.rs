//! Metrics of what leaves the box.

use super::metrics::{Page, flag};
use crate::outputs::{OutputDoc, OutputState};

/// Name, help and value of a count.
type Count = (&'static str, &'static str, fn(&OutputDoc) -> u64);

const COUNTS: [Count; 4] = [
    ("output_pictures_total", "Pictures sent.", |o| o.pictures),
    ("output_bytes_total", "Bytes of pictures and sound sent.", |o| {
        o.bytes
    }),
    (
        "output_left_out_total",
        "Pictures left out since nobody took them in time.",
        |o| o.left_out,
    ),
    ("output_failures_total", "Connections that failed.", |o| {
        o.failures
    }),
];

pub(super) fn outputs(page: &mut Page, outputs: &[OutputDoc]) {
    let labels = |o: &OutputDoc| [("output", o.id.clone()), ("stream", o.stream.clone())];
    let sample = |page: &mut Page, name: &str, output: &OutputDoc, value: f64| {
        let owned = labels(output);
        let labels = [
            (owned[0].0, owned[0].1.as_str()),
            (owned[1].0, owned[1].1.as_str()),
        ];
        page.sample(name, &labels, value);
    };
    page.family(
        "output_up",
        "gauge",
        "1 while it runs, or waits because nobody watches.",
    );
    for output in outputs {
        let up = matches!(output.state, OutputState::Running | OutputState::Waiting);
        sample(page, "output_up", output, flag(up));
    }
    page.family("output_clients", "gauge", "Who watches what is served.");
    for output in outputs {
        if let Some(clients) = output.clients {
            sample(page, "output_clients", output, clients as f64);
        }
    }
    for (name, help, value) in COUNTS {
        page.family(name, "counter", help);
        for output in outputs {
            sample(page, name, output, value(output) as f64);
        }
    }
}
