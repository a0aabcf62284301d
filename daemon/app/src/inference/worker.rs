//! The one thread that calls CUDA and TensorRT for a detector. Who asks it waits for so long and no longer; a worker that
//! gives no answer is left behind, with whatever it holds.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use synoptic_base::Detection;
use synoptic_vision::PictureBuf;

use super::model::GpuModel;
use super::{EngineRoom, Fault, ModelSpec};

/// What the end of a worker is waited for: giving back the GPU's memory takes some milliseconds.
const FAREWELL: Duration = Duration::from_secs(2);

/// What was found in each picture of a batch.
type Found = Vec<Vec<Detection>>;

enum Answer {
    /// It runs; what it is.
    Loaded(Result<String, Fault>),
    Looked(Result<Found, Fault>),
}

/// A loaded plan and its thread.
pub struct Worker {
    requests: Option<Sender<Vec<PictureBuf>>>,
    answers: Receiver<Answer>,
    description: String,
    /// It gave no answer once: nothing more is asked of it or waited for.
    hung: bool,
}

impl Worker {
    /// Loads and tests the plan of a model in a thread of its own.
    ///
    /// # Errors
    /// The reason why it does not run; [`Fault::Hung`] when that was not known within the limit.
    pub fn start(room: &Arc<EngineRoom>, spec: ModelSpec) -> Result<Worker, Fault> {
        let (requests, asked) = bounded::<Vec<PictureBuf>>(0);
        // One place more than there are questions: a worker that was given up never blocks on its answer.
        let (answer, answers) = bounded(2);
        let (theirs, limit) = (room.clone(), room.limits.load);
        let spawned = std::thread::Builder::new()
            .name(format!("gpu {}", spec.manifest.name))
            .spawn(move || work(&theirs, &spec, &asked, &answer));
        if let Err(error) = spawned {
            return Err(Fault::Model(format!("no thread for the GPU: {error}")));
        }
        let mut worker = Worker {
            requests: Some(requests),
            answers,
            description: String::new(),
            hung: false,
        };
        match worker.wait("loading the plan", limit)? {
            Answer::Loaded(loaded) => worker.description = loaded?,
            Answer::Looked(_) => {
                return Err(Fault::Model("the GPU's thread answered out of turn".to_owned()));
            }
        }
        Ok(worker)
    }

    /// What runs the model, for people.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What is in each of `pictures`.
    ///
    /// # Errors
    /// When the GPU fails, or gives no answer within `limit`: the worker is of no more use then.
    pub fn look(&mut self, pictures: Vec<PictureBuf>, limit: Duration) -> Result<Found, Fault> {
        let hung = || Fault::Hung {
            doing: "looking at a picture",
            limit,
        };
        let Some(requests) = &self.requests else {
            return Err(hung());
        };
        if requests.send_timeout(pictures, limit).is_err() {
            self.hung = true;
            return Err(hung());
        }
        match self.wait("looking at a picture", limit)? {
            Answer::Looked(found) => found,
            Answer::Loaded(_) => Err(Fault::Model("the GPU's thread answered out of turn".to_owned())),
        }
    }

    fn wait(&mut self, doing: &'static str, limit: Duration) -> Result<Answer, Fault> {
        self.answers.recv_timeout(limit).map_err(|why| {
            self.hung = true;
            match why {
                RecvTimeoutError::Timeout => Fault::Hung { doing, limit },
                RecvTimeoutError::Disconnected => {
                    Fault::Model(format!("the GPU's thread ended while {doing}"))
                }
            }
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.requests = None;
        if self.hung {
            return;
        }
        // The end of the thread ends this; an answer nobody asked for does not come.
        if let Err(RecvTimeoutError::Timeout) = self.answers.recv_timeout(FAREWELL) {
            log::warn!(
                "the GPU takes more than {} s to give back what {} held",
                FAREWELL.as_secs(),
                self.description
            );
        }
    }
}

fn work(room: &EngineRoom, spec: &ModelSpec, asked: &Receiver<Vec<PictureBuf>>, answer: &Sender<Answer>) {
    let mut model = match GpuModel::load(room, spec, false) {
        Ok(model) => {
            let description = model.description().to_owned();
            if answer.send(Answer::Loaded(Ok(description))).is_err() {
                return;
            }
            model
        }
        Err(fault) => {
            // Whoever asked may have given up.
            answer.send(Answer::Loaded(Err(fault))).ok();
            return;
        }
    };
    for pictures in asked {
        let found: Result<Found, _> = pictures.iter().map(|p| model.look(p)).collect();
        if answer.send(Answer::Looked(found.map_err(Fault::Failed))).is_err() {
            return;
        }
    }
}
