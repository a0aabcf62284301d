//! `synoptic events`: stored events, read beside the running daemon.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use synoptic_base::{StreamId, SystemChange, Utc};
use synoptic_store::{AnyEventRow, EventQuery, Reader, TRACK};

use crate::config::Config;
use crate::recorder::{any_event_doc, event_doc};
use crate::watchman::described;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// List events, newest first, one line each.
    List(Filter),
    /// Write events as JSON lines, newest first, with their pictures beside them if wanted.
    Export {
        #[command(flatten)]
        filter: Filter,
        /// Folder for the pictures, one JPEG an event.
        #[arg(long)]
        pictures: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
pub(super) struct Filter {
    /// Only of this type: track, camera_online, camera_offline, time_source, camera_clock_step, box_clock_step.
    #[arg(long = "type", value_parser = kind)]
    kind: Option<String>,
    /// Only of this camera.
    #[arg(long)]
    cam: Option<StreamId>,
    /// Only of this class.
    #[arg(long)]
    label: Option<String>,
    /// Only those that began at this time (RFC 3339) or later.
    #[arg(long, value_parser = time)]
    from: Option<Utc>,
    /// Only those that began before this time.
    #[arg(long, value_parser = time)]
    to: Option<Utc>,
    /// At most this many; export takes all by default.
    #[arg(short = 'n', long)]
    limit: Option<usize>,
}

fn kind(text: &str) -> Result<String, String> {
    if text == TRACK || SystemChange::NAMES.contains(&text) {
        return Ok(text.to_owned());
    }
    let known = SystemChange::NAMES.join(", ");
    Err(format!("there is no type `{text}`; use {TRACK}, {known}"))
}

fn time(text: &str) -> Result<Utc, String> {
    Utc::from_rfc3339(text).ok_or_else(|| format!("`{text}` is no time; write it like 2026-11-21T10:00:00Z"))
}

/// Events a page of the database.
const PAGE: u32 = 200;
/// Lines that `list` shows by default.
const LISTED: usize = 50;

pub(super) fn run(command: &Command, config: &Config) -> Result<ExitCode> {
    super::runtime(1)?.block_on(async {
        let dir = &config.device.data_dir;
        let reader =
            Reader::open(dir).with_context(|| format!("opening the database in {}", dir.display()))?;
        let mut out = std::io::stdout().lock();
        match command {
            Command::List(filter) => {
                let limit = filter.limit.unwrap_or(LISTED);
                for row in rows(&reader, filter, limit).await? {
                    if writeln!(out, "{}", line(&row)).is_err() {
                        break; // the reader of a pipe has had enough
                    }
                }
            }
            Command::Export { filter, pictures } => {
                for row in rows(&reader, filter, filter.limit.unwrap_or(usize::MAX)).await? {
                    let text = serde_json::to_string(&any_event_doc(&row))?;
                    if writeln!(out, "{text}").is_err() {
                        break;
                    }
                    if let Some(dir) = pictures
                        && let Some(jpeg) = reader.picture(row.id()).await?
                    {
                        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
                        let path = dir.join(format!("{}.jpg", row.id().0));
                        std::fs::write(&path, jpeg).with_context(|| format!("writing {}", path.display()))?;
                    }
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn rows(reader: &Reader, filter: &Filter, limit: usize) -> Result<Vec<AnyEventRow>> {
    let mut query = EventQuery {
        kind: filter.kind.clone(),
        stream: filter.cam,
        label: filter.label.clone(),
        from: filter.from,
        to: filter.to,
        limit: PAGE,
        ..EventQuery::default()
    };
    let mut rows = Vec::new();
    loop {
        let page = reader.any_events(&query).await.map_err(|e| anyhow!(e))?;
        rows.extend(page.events);
        query.cursor = page.next;
        if query.cursor.is_none() || rows.len() >= limit {
            rows.truncate(limit);
            return Ok(rows);
        }
    }
}

fn line(row: &AnyEventRow) -> String {
    let row = match row {
        AnyEventRow::Track(row) => row,
        AnyEventRow::System(row) => {
            let event = &row.event;
            let about = event.stream.map_or("box".to_owned(), |cam| cam.to_string());
            return format!("{}  {about}  {}  {}", event.utc, described(event), event.id.0);
        }
    };
    let doc = event_doc(row);
    let end = match (&doc.end, &doc.ended_by) {
        (Some(_), Some(why)) => {
            format!(
                "{:.1} s, {why}",
                (row.last.stamp.utc - row.event.first.stamp.utc).as_secs_f64()
            )
        }
        _ => "lasts".to_owned(),
    };
    format!(
        "{}  {}  {}  {:.2}  {end}  {}",
        doc.restamped.as_ref().unwrap_or(&doc.begin).utc,
        doc.cam,
        doc.label,
        doc.score,
        doc.id
    )
}
