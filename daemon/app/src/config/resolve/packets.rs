//! Packets for other programs: `[packets]`.

use std::num::NonZeroUsize;

use synoptic_base::StreamId;
use synoptic_packets::PixelLayout;

use super::camera::Listed;
use super::{Context, belongs_elsewhere};
use crate::config::raw;
use crate::config::reader::Section;
use crate::config::resolved::{Device, Group, PacketsConfig};
use crate::config::units::parse_bytes;
use crate::config::words::nearest;

/// From one packet of small cameras to what no box of this class has.
const MAX_MEMORY: std::ops::RangeInclusive<u64> = 8_000_000..=64_000_000_000;

/// `Some(None)`: nothing is shared. `None`: the table is wrong.
pub(super) fn packets(
    root: &Section<'_, '_>,
    context: &Context<'_>,
    device: Option<&Device>,
    groups: &[Group],
) -> Option<Option<PacketsConfig>> {
    let Some(section) = root.section("packets") else {
        return Some(None);
    };
    let layouts = [PixelLayout::Bgr, PixelLayout::Nv12].map(|l| (l.name(), l));
    let pixels = section.choice("pixels", &layouts);
    let dir = section.filled("dir");
    let max_memory = section.bytes("max_memory", MAX_MEMORY);
    let motion_helper = section.filled("motion_helper");
    let mut chosen: Option<Vec<StreamId>> = None;
    for name in section.texts("groups").into_iter().flatten() {
        let chosen = chosen.get_or_insert_default();
        match groups.iter().find(|g| g.id.as_str() == name.value) {
            Some(group) => chosen.push(group.id),
            None => {
                let known = groups.iter().map(|g| g.id.as_str());
                let hint = match nearest(name.value, known) {
                    Some(better) => format!("did you mean `{better}`?"),
                    None => "name a [[group]] with a camera that is enabled, or remove the line".to_owned(),
                };
                let message = format!("there is no group `{}`", name.value);
                section.reader.error_at(&name, message, hint);
            }
        }
    }
    section.finish(belongs_elsewhere);
    let dir = match dir {
        Some(dir) => context.folder.join(dir.value),
        None => device?.data_dir.join(raw::PACKETS_DIR),
    };
    Some(Some(PacketsConfig {
        pixels: pixels.map_or(PixelLayout::default(), |p| p.value),
        dir,
        max_bytes: max_memory
            .map(|m| m.value)
            .or_else(|| parse_bytes(raw::PACKETS_MEMORY))?,
        groups: chosen,
        motion_helper: motion_helper.map(|path| context.program(path.value)),
    }))
}

/// Warns of cameras whose motion vectors nobody can read.
pub(super) fn motion_is_read(
    root: &Section<'_, '_>,
    cameras: &[Listed<'_>],
    packets: Option<&PacketsConfig>,
    groups: &[Group],
) {
    let wanted = |c: &&Listed<'_>| c.camera.as_ref().is_some_and(|c| c.motion_vectors && c.enabled);
    for listed in cameras.iter().filter(wanted) {
        let Some(camera) = &listed.camera else { continue };
        let group = groups.iter().find(|g| g.cameras.contains(&camera.options.id));
        let shared = packets.zip(group).is_some_and(|(p, g)| p.of(g).is_some());
        if !shared {
            let message = "its motion vectors are asked for, and no program can read them: they go into shared packets only";
            let hint = "add a [packets] table and its group to that, or remove motion_vectors";
            root.reader.warn_at(&listed.place, message, hint);
        }
    }
}

impl PacketsConfig {
    /// How a group's packets are shared; `None` when they are not.
    pub fn of(&self, group: &Group) -> Option<synoptic_packets::ShareOptions> {
        let wanted = self.groups.as_ref().is_none_or(|g| g.contains(&group.id));
        wanted.then(|| synoptic_packets::ShareOptions {
            dir: self.dir.clone(),
            pixels: self.pixels,
            max_bytes: self.max_bytes,
            max_ring: group.frame_packet_buffer_maxsize.map(NonZeroUsize::get),
        })
    }
}
