//! How evenly a seeder served its peers, and the median that all benchmarks use.

use serde::Serialize;

/// Spread of bytes over connections.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The least served connection.
    pub min: u64,
    /// The middle one.
    pub median: u64,
    /// The best served one.
    pub max: u64,
    /// Jain's fairness index: 1 when all got the same, 1/n when one got everything.
    pub jain: f64,
}

impl Spread {
    /// Spread of `values`; zero everywhere (and fair) without values.
    pub fn of(values: &[u64]) -> Spread {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let sum: f64 = values.iter().map(|v| *v as f64).sum();
        let squares: f64 = values.iter().map(|v| (*v as f64).powi(2)).sum();
        let jain = if squares > 0.0 { sum * sum / (values.len() as f64 * squares) } else { 1.0 };
        Spread {
            min: sorted.first().copied().unwrap_or(0),
            median: sorted.get(sorted.len() / 2).copied().unwrap_or(0),
            max: sorted.last().copied().unwrap_or(0),
            jain,
        }
    }
}

/// Median of `values` (mean of the two middle ones for an even count); `None` without values or with a NaN.
pub fn median(values: &[f64]) -> Option<f64> {
    if values.is_empty() || values.iter().any(|v| v.is_nan()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    Some(if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_service_is_fair_and_one_winner_is_not() {
        assert_eq!(Spread::of(&[7, 7, 7, 7]), Spread { min: 7, median: 7, max: 7, jain: 1.0 });
        let greedy = Spread::of(&[0, 0, 0, 100]);
        assert_eq!((greedy.min, greedy.max), (0, 100));
        assert!((greedy.jain - 0.25).abs() < 1e-9);
        assert_eq!(Spread::of(&[]).jain, 1.0);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, f64::NAN]), None);
    }
}
