//! The desk as the MQTT publisher sees it, and as the web server does.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use synoptic_base::{Span, Utc};
use synoptic_engine::command::{Asked, Body, CommandId, Origin};
use tokio::sync::watch;
use uuid::Uuid;

use super::desk::{Desk, News};
use super::{Args, SupportBundle, Transfer};
use crate::documents::{CommandDoc, CommandPhase, CommandRequest, CommandsDoc};
use crate::mqtt::{CommandLink, CommandNews};
use crate::web::{BoxFuture, CommandAdmin, Problem};

/// Longest time to live, in seconds: a week.
const MAX_TTL_S: u32 = 604_800;

impl CommandLink for Desk {
    fn received(&self, name: &str, id: &str, payload: &[u8], retained: bool) {
        let id = match CommandId::new(id) {
            Ok(id) => id,
            Err(error) => {
                log::warn!("mqtt: a command {name:?}: {error}");
                return self.tell_once(CommandDoc {
                    name: name.to_owned(),
                    id: id.to_owned(),
                    state: CommandPhase::Failed,
                    since: self.now().utc.to_rfc3339(),
                    progress: None,
                    reason: Some(error.to_string()),
                    result: None,
                });
            }
        };
        if payload.is_empty() {
            return self.withdraw(id);
        }
        let origin = if retained { Origin::Retained } else { Origin::Live };
        self.request(Asked {
            name: name.to_owned(),
            id,
            origin,
            body: body(payload),
        });
    }

    fn is_known(&self, name: &str, id: &str) -> bool {
        Desk::is_known(self, name, id)
    }

    fn next(&self, after: u64) -> Option<CommandNews> {
        let News { seq, name, id, doc } = Desk::next(self, after)?;
        Some(CommandNews { seq, name, id, doc })
    }

    fn changed(&self) -> watch::Receiver<u64> {
        Desk::changed(self)
    }
}

fn body(payload: &[u8]) -> Result<Body<Args>, String> {
    let request: CommandRequest = serde_json::from_slice(payload).map_err(|e| {
        format!(
            "the payload is no command: {e}; write {{\"issued_at\": \"…Z\", \"ttl_s\": 300, \"args\": {{}}}}"
        )
    })?;
    let issued_at = Utc::from_rfc3339(&request.issued_at)
        .ok_or_else(|| format!("issued_at: `{}` is no RFC 3339 time", request.issued_at))?;
    if !(1..=MAX_TTL_S).contains(&request.ttl_s) {
        return Err(format!("ttl_s: {} is not 1 to {MAX_TTL_S}", request.ttl_s));
    }
    Ok(Body {
        issued_at: Some(issued_at),
        ttl: Span::from_secs(i64::from(request.ttl_s)),
        args: request.args,
    })
}

/// The desk and what hangs on it, for the web server.
pub struct WebCommands {
    /// The desk.
    pub desk: Arc<Desk>,
    /// Makes and keeps support bundles.
    pub bundle: Arc<SupportBundle>,
    /// Writes configurations out.
    pub transfer: Arc<Transfer>,
}

impl CommandAdmin for WebCommands {
    fn ask(&self, name: &str, id: Option<String>, args: Args) -> BoxFuture<'_, Result<CommandDoc, Problem>> {
        let name = name.to_owned();
        Box::pin(async move {
            if !self.desk.names().contains(&name) {
                return Err(Problem::not_found(format!("there is no command `{name}`")));
            }
            let id = id.unwrap_or_else(|| Uuid::now_v7().to_string());
            let id = CommandId::new(&id).map_err(|e| Problem::invalid("id", e.to_string()))?;
            let told = self.desk.ask(&name, id, args).await;
            let doc = told.ok_or_else(|| Problem::unavailable("the daemon is going down"))?;
            // What was refused otherwise is told by its state, as over MQTT.
            let known = self.desk.get(&doc.id);
            if known.is_some_and(|known| known.name != name) {
                let taken = || format!("the id {} is another command's", doc.id);
                return Err(Problem::conflict(doc.reason.clone().unwrap_or_else(taken)));
            }
            Ok(doc)
        })
    }

    fn get(&self, id: &str) -> Option<CommandDoc> {
        self.desk.get(id)
    }

    fn list(&self) -> CommandsDoc {
        CommandsDoc {
            names: self.desk.names().iter().cloned().collect(),
            commands: self.desk.all(),
        }
    }

    fn support_bundle(&self) -> Option<PathBuf> {
        self.bundle.newest()
    }

    fn export(&self) -> Result<Value, Problem> {
        self.transfer
            .export()
            .map_err(|e| Problem::internal("exporting the configuration", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_that_are_no_commands_are_told_apart() {
        for (payload, part) in [
            ("", "no command"),
            ("reboot", "no command"),
            ("[]", "no command"),
            ("{}", "issued_at"),
            (r#"{"issued_at": "yesterday"}"#, "yesterday"),
            (r#"{"issued_at": "2026-11-21T10:00:00Z", "ttl_s": 0}"#, "ttl_s"),
            (
                r#"{"issued_at": "2026-11-21T10:00:00Z", "ttl_s": 604801}"#,
                "ttl_s",
            ),
            (r#"{"issued_at": "2026-11-21T10:00:00Z", "args": []}"#, "args"),
            (r#"{"issued_at": "2026-11-21T10:00:00Z", "arg": {}}"#, "arg"),
        ] {
            let error = body(payload.as_bytes()).unwrap_err();
            assert!(error.contains(part), "{payload}: {error}");
        }
        let good = body(br#"{"issued_at": "2026-11-21T11:00:00+01:00"}"#).unwrap();
        assert_eq!(good.issued_at, Utc::from_rfc3339("2026-11-21T10:00:00Z"));
        assert_eq!((good.ttl, good.args.len()), (Span::from_secs(300), 0));
    }
}
