//! Not yet.
use super::super::mesh::Run;
use super::Source;
pub(super) fn sample(source: &Source<'_>, runs: &[Run], out: &mut [i16]) {
    super::portable::sample(source, runs, out)
}
pub(super) fn supported() -> bool {
    false
}
