//! Optimal assignment with a cost limit, as ByteTrack asks `lap.lapjv(cost, extend_cost=True, cost_limit)` for it.
//!
//! Every pair cheaper than the limit is worth `limit − cost`; the matching with the greatest total worth wins,
//! and whatever has no worthwhile partner stays alone. That is a maximum-weight matching with zero for "alone",
//! so `pathfinding`'s Kuhn-Munkres (O(n³)) finds it. It takes integers: worth is counted in billionths.

use pathfinding::prelude::{Matrix, kuhn_munkres};

/// Steps of worth per unit of cost. Ties closer than this are broken by position, always the same way.
const STEPS_PER_UNIT: f64 = 1e9;

/// Matches `rows` with `columns`, each at most once.
///
/// `cost(row, column)` is the cost of a pair, or `None` if the two must not be matched. Only pairs that cost less
/// than `limit` are matched. Returns `(row, column)` in the order of rows.
pub(super) fn assign(
    rows: usize,
    columns: usize,
    limit: f32,
    cost: impl Fn(usize, usize) -> Option<f32>,
) -> Vec<(usize, usize)> {
    if rows == 0 || columns == 0 {
        return Vec::new();
    }
    let worth = |row: usize, column: usize| -> i64 {
        let worth = cost(row, column).map_or(0.0, |c| f64::from(limit) - f64::from(c));
        // A float cast saturates and maps NaN to 0, so a bad cost is no match instead of an endless loop.
        (worth.max(0.0) * STEPS_PER_UNIT) as i64
    };
    // Kuhn-Munkres wants no more rows than columns.
    let transposed = rows > columns;
    let weights = if transposed {
        Matrix::from_fn(columns, rows, |(column, row)| worth(row, column))
    } else {
        Matrix::from_fn(rows, columns, |(row, column)| worth(row, column))
    };
    let (_, partner) = kuhn_munkres(&weights);
    let mut matched: Vec<(usize, usize)> = partner
        .into_iter()
        .enumerate()
        .filter(|&at| weights[at] > 0)
        .map(|(a, b)| if transposed { (b, a) } else { (a, b) })
        .collect();
    matched.sort_unstable();
    matched
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Greatest worth over all partial matchings, by trying them all.
    fn best_worth(costs: &[Vec<f32>], limit: f32, row: usize, taken: u32) -> f64 {
        let Some(of_row) = costs.get(row) else { return 0.0 };
        let mut best = best_worth(costs, limit, row + 1, taken);
        for (column, &cost) in of_row.iter().enumerate() {
            if taken & (1 << column) == 0 && cost < limit {
                let rest = best_worth(costs, limit, row + 1, taken | 1 << column);
                best = best.max(rest + f64::from(limit - cost));
            }
        }
        best
    }

    #[test]
    fn as_good_as_trying_everything() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..500 {
            let (rows, columns) = (rng.random_range(0..6), rng.random_range(0..6));
            let limit: f32 = rng.random_range(0.1..1.0);
            let costs: Vec<Vec<f32>> = (0..rows)
                .map(|_| (0..columns).map(|_| rng.random_range(0.0..1.0)).collect())
                .collect();
            let matched = assign(rows, columns, limit, |r, c| Some(costs[r][c]));
            let mut seen = (0_u32, 0_u32);
            let mut total = 0.0;
            for &(row, column) in &matched {
                assert!(costs[row][column] < limit);
                assert!(
                    seen.0 & (1 << row) == 0 && seen.1 & (1 << column) == 0,
                    "each once"
                );
                seen = (seen.0 | 1 << row, seen.1 | 1 << column);
                total += f64::from(limit - costs[row][column]);
            }
            assert!((total - best_worth(&costs, limit, 0, 0)).abs() < 1e-6);
        }
    }

    #[test]
    fn greedy_would_be_wrong_here() {
        let costs = [[0.1, 0.2], [0.15, 0.9]];
        assert_eq!(assign(2, 2, 0.8, |r, c| Some(costs[r][c])), [(0, 1), (1, 0)]);
    }

    #[test]
    fn forbidden_and_broken_costs_are_no_match() {
        assert_eq!(assign(1, 1, 0.8, |_, _| None), []);
        assert_eq!(
            assign(1, 2, 0.8, |_, c| Some(if c == 0 { f32::NAN } else { 0.8 })),
            []
        );
    }
}
