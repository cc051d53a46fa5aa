//! Fair random choice without bookkeeping.

use fastrand::Rng;

/// Visits `count` different numbers below `n` (all of them when there are not more), each with the same
/// probability.
///
/// The numbers are `start + i * stride` modulo `n` with a random start and a random stride that has no factor in
/// common with `n`, so none comes twice and nothing has to be remembered.
pub(super) fn draw(rng: &mut Rng, n: usize, count: usize, mut visit: impl FnMut(usize)) {
    if n == 0 {
        return;
    }
    let mut at = rng.usize(..n);
    let stride = if count >= n { 1 } else { stride(rng, n) };
    for _ in 0..count.min(n) {
        visit(at);
        // Both are below n, and n is a length of a Vec: their sum does not overflow.
        at += stride;
        if at >= n {
            at -= n;
        }
    }
}

/// Primes for strides: large, so that neighbours in memory are seldom given together, and many, so that which are
/// given together changes.
const PRIMES: [u32; 16] = [
    1_000_003, 1_010_003, 1_020_001, 1_030_019, 1_040_021, 1_050_011, 1_060_009, 1_070_009, 1_080_007,
    1_090_003, 1_100_009, 1_110_007, 1_120_001, 1_130_011, 1_140_091, 1_150_027,
];

/// A number in `1..n` (1 for n = 1) that has no factor in common with `n`: a random prime modulo `n`. A prime that is
/// a factor of `n` does not do; no `n` below 10^96 has them all.
fn stride(rng: &mut Rng, n: usize) -> usize {
    let first = rng.usize(..PRIMES.len());
    let of = |at: usize| PRIMES[(first + at) % PRIMES.len()] as usize;
    (0..PRIMES.len()).map(of).find(|&prime| !n.is_multiple_of(prime)).map_or(1, |prime| (prime % n).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_different_and_in_range() {
        let mut rng = Rng::with_seed(1);
        for n in 0..70 {
            for count in [0, 1, 2, 5, 30, 69, 70, 200] {
                let mut seen = vec![false; n];
                let mut visited = 0;
                draw(&mut rng, n, count, |i| {
                    assert!(!std::mem::replace(&mut seen[i], true), "{i} twice of {n}");
                    visited += 1;
                });
                assert_eq!(visited, count.min(n));
            }
        }
    }

    /// Each number's count is binomial: 20,000 draws of 10 of 60 give 3,333 with a deviation of 53. Six deviations
    /// are exceeded once in 10^9.
    #[test]
    fn each_number_is_as_likely_as_each_other() {
        let mut rng = Rng::with_seed(2);
        let mut counts = [0i64; 60];
        for _ in 0..20_000 {
            draw(&mut rng, 60, 10, |i| counts[i] += 1);
        }
        for count in counts {
            assert!((count - 3333).abs() < 320, "{counts:?}");
        }
    }
}
