//! Weights of all cells from lines and from who takes part.

use std::cmp::Ordering;

use synoptic_base::{Cover, StitchLayout};

use super::joins::Join;
use super::line::Line;
use super::slots::Part;

/// Cells that more than one camera sees, at least in part: all others never change hands.
pub(super) fn contested(layout: &StitchLayout) -> Vec<usize> {
    let seen = |i: usize| layout.cover.iter().filter(|c| c[i] > Cover::None).count();
    (0..layout.columns * layout.rows)
        .filter(|i| seen(*i) > 1)
        .collect()
}

/// Computes the weights of `cells` into `weights`. `seams` are the joins, leaves first, and their lines; a ramp is
/// `feather` cells wide.
pub(super) fn weigh(
    layout: &StitchLayout,
    parts: &[Part],
    seams: &[(&Join, &Line)],
    feather: f32,
    cells: impl Iterator<Item = usize>,
    weights: &mut [Vec<u8>],
) {
    let n = parts.len();
    let mut levels = vec![Cover::None; n];
    let mut shares = vec![1.0_f32; n];
    for cell in cells {
        let (c, r) = (cell % layout.columns, cell / layout.columns);
        let seen = |k: usize| layout.cover[k][cell];
        let filled = (0..n).any(|k| parts[k] == Part::Full && seen(k) >= Cover::Whole);
        for (k, level) in levels.iter_mut().enumerate() {
            *level = match parts[k] {
                Part::Full => seen(k),
                Part::Rest if !filled => seen(k),
                Part::Rest | Part::None => Cover::None,
            };
        }
        if levels.iter().filter(|l| **l > Cover::None).count() <= 1 {
            for (level, weights) in levels.iter().zip(&mut *weights) {
                weights[cell] = if *level > Cover::None { 255 } else { 0 };
            }
            continue;
        }
        shares.fill(1.0);
        for (join, line) in seams.iter().rev() {
            let best = |group: &[usize]| group.iter().map(|k| levels[*k]).max().unwrap_or(Cover::None);
            let (before, after) = (best(&join.before), best(&join.after));
            let (across, at) = if join.runs_down { (r, c) } else { (c, r) };
            let past = at as f32 + 0.5 - line.shown()[across];
            let later = match before.cmp(&after) {
                Ordering::Greater => 0.0,
                Ordering::Less => 1.0,
                Ordering::Equal if before == Cover::Inner => (past / feather + 0.5).clamp(0.0, 1.0),
                // At an edge of pictures there is no room for a ramp.
                Ordering::Equal => f32::from(past >= 0.0),
            };
            for k in &join.before {
                shares[*k] *= 1.0 - later;
            }
            for k in &join.after {
                shares[*k] *= later;
            }
        }
        let (mut left, mut most) = (255, 0);
        for k in 0..n {
            let share = if levels[k] > Cover::None {
                (shares[k] * 255.0) as u8
            } else {
                0
            };
            weights[k][cell] = share;
            left -= share;
            if share > weights[most][cell] {
                most = k;
            }
        }
        // What rounding took goes to the largest.
        weights[most][cell] += left;
    }
}
