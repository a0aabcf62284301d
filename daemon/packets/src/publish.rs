//! The thread that writes a group's packets for its readers.

use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use synoptic_base::{FramePacket, Span};

use crate::block::Block;
use crate::motion::MotionAnswer;
use crate::server::{IDLE_AFTER, Inner, Shared};
use crate::wire::HELD;
use crate::{Pixels, layout, writer};

/// The writer's thread.
pub(crate) fn run(inner: &Inner, packets: &Receiver<FramePacket<Pixels>>) {
    let mut blocks: Vec<Option<Block>> = Vec::new();
    let mut said = None;
    loop {
        let packet = match packets.recv_timeout(IDLE_AFTER) {
            Ok(packet) => Some(packet),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let Some(packet) = packet.filter(|_| inner.readers.load(Ordering::Relaxed) > 0) else {
            // What nobody reads needs no memory.
            if inner.readers.load(Ordering::Relaxed) == 0 && !blocks.is_empty() {
                forget(inner, &mut blocks);
            }
            continue;
        };
        let failed = write_packet(inner, &packet, &mut blocks);
        let now = inner.clock.now();
        if let Some(why) = failed.last()
            && said.is_none_or(|at| now - at > Span::from_secs(10))
        {
            said = Some(now);
            log::error!(
                "group {}: packet {} for other programs: {why}",
                inner.group,
                packet.id.0
            );
        }
    }
}

/// Gives all memory back, unless a reader came.
fn forget(inner: &Inner, blocks: &mut Vec<Option<Block>>) {
    let mut state = inner.state();
    if state.exchange.readers() == 0 {
        state.exchange.forget();
        state.blocks.clear();
        blocks.clear();
    }
}

fn give_back(inner: &Inner, blocks: &mut [Option<Block>], which: impl Fn(usize) -> bool) {
    let mut state = inner.state();
    for (i, block) in blocks.iter_mut().enumerate().filter(|(i, _)| which(*i)) {
        *block = None;
        if let Some(shared) = state.blocks.get_mut(i) {
            *shared = None;
        }
    }
}

/// Writes a packet for everybody who reads; returns what went wrong.
fn write_packet(inner: &Inner, packet: &FramePacket<Pixels>, blocks: &mut Vec<Option<Block>>) -> Vec<String> {
    let motion: Vec<MotionAnswer> = packet
        .slots
        .iter()
        .map(|(_, slot)| match slot.frame() {
            Some(frame) => inner.motion.vectors(&frame.meta.key),
            None => MotionAnswer::Off,
        })
        .collect();
    let pixels = inner.options.pixels;
    let (places, used) = layout::places(packet, pixels, &motion);
    let claim = inner.state().exchange.claim(used as u64);
    let Some(claim) = claim else {
        inner.lost.fetch_add(1, Ordering::Relaxed);
        return vec![format!(
            "no memory for {used} bytes: its readers hold all of it, or packets.max_memory is below {HELD} packets"
        )];
    };
    if blocks.len() <= claim.block {
        blocks.resize_with(claim.block + 1, || None);
    }
    if let Some(bytes) = claim.make {
        let emptied: Vec<usize> = inner.state().exchange.emptied().collect();
        give_back(inner, blocks, |i| i == claim.block || emptied.contains(&i));
        let made = Block::make(bytes).and_then(|block| Ok((block.descriptor()?, block)));
        let (descriptor, block) = match made {
            Ok(made) => made,
            Err(error) => {
                inner.state().exchange.abandon(claim);
                inner.lost.fetch_add(1, Ordering::Relaxed);
                return vec![format!("no memory of {bytes} bytes: {error}")];
            }
        };
        blocks[claim.block] = Some(block);
        let mut state = inner.state();
        if state.blocks.len() <= claim.block {
            state.blocks.resize_with(claim.block + 1, || None);
        }
        state.generation += 1;
        state.blocks[claim.block] = Some(Shared {
            descriptor,
            generation: state.generation,
            used: 0,
        });
    }
    let Some(block) = &mut blocks[claim.block] else {
        inner.state().exchange.abandon(claim);
        return vec![format!("block {} has no memory", claim.block)];
    };
    let map = (inner.map)();
    let now = || inner.clock.now();
    let failed = writer::write(
        block.bytes(),
        packet,
        (&places, used),
        (pixels, &motion),
        &map,
        now,
    );
    let mut state = inner.state();
    if let Some(shared) = &mut state.blocks[claim.block] {
        shared.used = used as u64;
    }
    state.exchange.publish(claim.block);
    drop(state);
    inner.changed.notify_all();
    failed
}
