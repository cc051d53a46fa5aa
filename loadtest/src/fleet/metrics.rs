//! A page in Prometheus' text format, read for some of its values.

/// The samples of a page.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    samples: Vec<(String, f64)>,
}

impl Metrics {
    /// Reads a page; lines that are no samples are passed over.
    pub fn parse(text: &str) -> Metrics {
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            (!line.starts_with('#')).then_some(())?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        Metrics { samples: text.lines().filter_map(sample).collect() }
    }

    /// The sum of a family's series that have every label of `labels` (as `name="value"`).
    pub fn sum(&self, family: &str, labels: &[&str]) -> f64 {
        let of_family = |series: &str| {
            let rest = series.strip_prefix(family)?;
            (rest.is_empty() || rest.starts_with('{')).then_some(())?;
            labels.iter().all(|label| rest.contains(label)).then_some(())
        };
        self.samples.iter().filter(|(series, _)| of_family(series).is_some()).map(|sample| sample.1).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_summed_over_the_labels_that_are_left_open() {
        let metrics = Metrics::parse(
            "# HELP a_total x\n# TYPE a_total counter\na_total{d=\"in\",s=\"0\"} 5\na_total{d=\"in\",s=\"1\"} 7\n\
             a_total{d=\"out\",s=\"0\"} 1\na_total_more 100\nb 2.5\n",
        );
        assert_eq!(metrics.sum("a_total", &["d=\"in\""]), 12.0);
        assert_eq!(metrics.sum("a_total", &[]), 13.0);
        assert_eq!(metrics.sum("b", &[]), 2.5);
        assert_eq!(metrics.sum("nothing", &[]), 0.0);
    }
}
