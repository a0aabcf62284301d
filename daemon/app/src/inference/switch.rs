//! A detector whose engine changes while it works: the GPU when it can, the CPU or nothing when it cannot.

use crossbeam_channel::{Receiver, Sender};
use synoptic_base::{Detected, Detector, DetectorError, Picture, StreamId};
use synoptic_vision::PictureBuf;

use super::Fault;
use super::worker::Worker;

/// Makes the detector on the CPU, and says what runs it.
pub type LoadCpu = Box<dyn Fn() -> Result<(Box<dyn Detector>, String), String> + Send>;

/// A detector that changes over between packets, never within one.
pub struct Switching {
    /// The model's name.
    pub(super) name: String,
    /// On the GPU, if it can.
    pub(super) gpu: Option<Worker>,
    /// Workers that are ready.
    pub(super) arrivals: Receiver<Worker>,
    /// What went wrong on the GPU, for the supervisor; closed, it ends.
    pub(super) faults: Sender<Fault>,
    /// On the CPU, once it was needed.
    pub(super) cpu: Option<Box<dyn Detector>>,
    /// `None`: the CPU does not look.
    pub(super) load_cpu: Option<LoadCpu>,
    /// How long the GPU may look at a packet.
    pub(super) limit: std::time::Duration,
}

impl Switching {
    /// On the GPU; `None` when it cannot, from now on.
    fn on_gpu(&mut self, batch: &[Picture<'_>]) -> Option<Vec<Detected>> {
        let worker = self.gpu.as_mut()?;
        let copies: Vec<_> = batch
            .iter()
            .map(|p| {
                PictureBuf::copy(p.surface).map_err(|why| DetectorError::Picture {
                    frame: p.meta.key.to_string(),
                    why,
                })
            })
            .collect();
        let pictures = copies.iter().flatten().cloned().collect();
        match worker.look(pictures, self.limit) {
            Ok(found) => {
                let mut found = found.into_iter();
                let missing = || DetectorError::Engine {
                    detector: self.name.clone(),
                    why: "the GPU gave fewer answers than pictures".to_owned(),
                };
                let each = copies
                    .into_iter()
                    .map(|copy| copy.and_then(|_| found.next().ok_or_else(missing)));
                Some(each.collect())
            }
            Err(fault) => {
                self.gpu = None;
                // The supervisor lives as long as this.
                self.faults.send(fault).ok();
                None
            }
        }
    }

    fn on_cpu(&mut self, batch: &[Picture<'_>]) -> Vec<Detected> {
        let failed = |error: &DetectorError| batch.iter().map(|_| Err(error.clone())).collect();
        let Some(load) = &self.load_cpu else {
            return failed(&DetectorError::NotReady {
                detector: self.name.clone(),
            });
        };
        if self.cpu.is_none() {
            match load() {
                Ok((cpu, _)) => self.cpu = Some(cpu),
                Err(why) => {
                    return failed(&DetectorError::Engine {
                        detector: self.name.clone(),
                        why,
                    });
                }
            }
        }
        self.cpu.as_mut().map_or_else(Vec::new, |cpu| cpu.detect(batch))
    }
}

impl Detector for Switching {
    fn name(&self) -> &str {
        &self.name
    }

    fn detect(&mut self, batch: &[Picture<'_>]) -> Vec<Detected> {
        if let Ok(worker) = self.arrivals.try_recv() {
            self.gpu = Some(worker);
            // Its memory is of better use elsewhere; it is loaded again in milliseconds.
            self.cpu = None;
        }
        // What the GPU failed at is looked at by the CPU at once: no frame is lost.
        self.on_gpu(batch).unwrap_or_else(|| self.on_cpu(batch))
    }

    fn forget(&mut self, stream: &StreamId) {
        if let Some(cpu) = &mut self.cpu {
            cpu.forget(stream);
        }
    }
}
