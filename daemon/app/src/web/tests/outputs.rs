//! The routes of the outputs.

use super::*;
use crate::config::NewOutput;
use crate::outputs::{OutputDoc, OutputKind, OutputState};

#[derive(Default)]
pub(super) struct Outputs(Mutex<Vec<NewOutput>>);

fn doc(output: &NewOutput) -> OutputDoc {
    OutputDoc {
        id: output.id.clone(),
        stream: output.stream.clone(),
        kind: OutputKind::RtspServer,
        url: "rtsp://127.0.0.1:8554/a".to_owned(),
        configured: true,
        state: OutputState::Waiting,
        reason: Some("nobody watches".to_owned()),
        since: None,
        transcoded: None,
        sound: None,
        sound_transcoded: None,
        width: None,
        height: None,
        clients: Some(0),
        pictures: 0,
        bytes: 0,
        left_out: 0,
        repeated: 0,
        failures: 0,
    }
}

impl OutputAdmin for Outputs {
    fn list(&self) -> Vec<OutputDoc> {
        self.0.lock().unwrap().iter().map(doc).collect()
    }
    fn get(&self, id: &StreamId) -> Option<OutputDoc> {
        let outputs = self.0.lock().unwrap();
        outputs.iter().find(|o| o.id == id.as_str()).map(doc)
    }
    fn add(&self, output: &NewOutput) -> Result<(), Problem> {
        self.0.lock().unwrap().push(output.clone());
        Ok(())
    }
    fn replace(&self, output: &NewOutput) -> Result<(), Problem> {
        let mut outputs = self.0.lock().unwrap();
        let found = outputs.iter_mut().find(|o| o.id == output.id);
        *found.ok_or_else(|| Problem::not_found("no such output"))? = output.clone();
        Ok(())
    }
    fn remove(&self, id: &StreamId) -> Result<(), Problem> {
        self.0.lock().unwrap().retain(|o| o.id != id.as_str());
        Ok(())
    }
}

#[test]
fn outputs_are_added_changed_told_and_removed() {
    let server = Server::start(OPEN);
    assert_eq!(server.get("/api/v1/outputs").json(), json!([]));
    let new = json!({"id": "o", "stream": "a", "serve": "rtsp"});
    let added = server.post("/api/v1/outputs", &new);
    assert_eq!(
        (added.status, added.header("location")),
        (201, "/api/v1/outputs/o")
    );
    let told = server.get("/api/v1/outputs/o").json();
    assert_eq!(
        (&told["state"], &told["kind"]),
        (&json!("waiting"), &json!("rtsp_server"))
    );
    assert_eq!(server.get("/api/v1/outputs").json()[0], told);
    let put = |id: &str, body: &Value| {
        let path = format!("/api/v1/outputs/{id}");
        server.ask("PUT", &path, &[], Some(&body.to_string()))
    };
    let other = json!({"id": "o", "stream": "b", "serve": "rtsp", "enabled": false});
    assert_eq!(put("o", &other).status, 204);
    assert_eq!(server.get("/api/v1/outputs/o").json()["stream"], "b");
    assert_eq!(put("p", &other).problem(422)["field"], "id");
    let bad = json!({"id": "No Id", "stream": "a", "serve": "rtsp"});
    assert_eq!(server.post("/api/v1/outputs", &bad).problem(422)["field"], "id");
    server
        .post("/api/v1/outputs", &json!({"id": "o", "colour": 1}))
        .problem(422);
    assert_eq!(server.ask("DELETE", "/api/v1/outputs/o", &[], None).status, 204);
    server.get("/api/v1/outputs/o").problem(404);
    server.get("/api/v1/outputs/No%20Id").problem(404);
}
