//! One scrape: families of values that live elsewhere, in Prometheus' form.

use prometheus::proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{CounterVec, GaugeVec, IntCounterVec, Opts, Registry, Result};
use std::cell::RefCell;

/// The families of one scrape; names get the prefix.
#[derive(Default)]
pub(super) struct Page {
    registry: Registry,
    histograms: RefCell<Vec<MetricFamily>>,
}

/// A histogram that was counted elsewhere.
pub(super) struct Counted<'a> {
    /// Upper bounds of the buckets, ascending, in the family's unit.
    pub(super) bounds: &'a [f64],
    /// Values per bucket, not cumulative; one more for what is above all bounds.
    pub(super) counts: &'a [u64],
    /// Sum of the values.
    pub(super) sum: f64,
}

impl Page {
    pub(super) fn value(&self, name: &str, help: &str, value: f64) -> Result<()> {
        self.gauge(name, help, &[], [(vec![], value)])
    }

    pub(super) fn gauge<'a>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        values: impl IntoIterator<Item = (Vec<&'a str>, f64)>,
    ) -> Result<()> {
        let family = GaugeVec::new(Opts::new(full(name), help), labels)?;
        for (labels, value) in values {
            family.get_metric_with_label_values(&labels)?.set(value);
        }
        self.registry.register(Box::new(family))
    }

    pub(super) fn counter<'a>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        values: impl IntoIterator<Item = (Vec<&'a str>, u64)>,
    ) -> Result<()> {
        let family = IntCounterVec::new(Opts::new(full(name), help), labels)?;
        for (labels, value) in values {
            family.get_metric_with_label_values(&labels)?.inc_by(value);
        }
        self.registry.register(Box::new(family))
    }

    /// A counter of seconds.
    pub(super) fn seconds<'a>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        values: impl IntoIterator<Item = (Vec<&'a str>, f64)>,
    ) -> Result<()> {
        let family = CounterVec::new(Opts::new(full(name), help), labels)?;
        for (labels, value) in values {
            family.get_metric_with_label_values(&labels)?.inc_by(value);
        }
        self.registry.register(Box::new(family))
    }

    /// A histogram with one label. The crate's own histograms cannot be given counts that were made elsewhere.
    pub(super) fn histogram<'a>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, Counted<'a>)>,
    ) {
        let metrics = values.into_iter().map(|(value, counted)| {
            let mut pair = LabelPair::default();
            pair.set_name(label.to_owned());
            pair.set_value(value.to_owned());
            let mut metric = Metric::from_label(vec![pair]);
            metric.set_histogram(counted.cumulative());
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(full(name));
        family.set_help(help.to_owned());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(metrics.collect());
        if !family.get_metric().is_empty() {
            self.histograms.borrow_mut().push(family);
        }
    }

    /// All families.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        let mut families = self.registry.gather();
        families.extend(self.histograms.borrow().iter().cloned());
        families
    }
}

impl Counted<'_> {
    fn cumulative(&self) -> Histogram {
        let mut so_far = 0;
        let buckets = self.bounds.iter().zip(self.counts).map(|(bound, count)| {
            so_far += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(so_far);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(self.counts.iter().sum());
        histogram.set_sample_sum(self.sum);
        histogram
    }
}

fn full(name: &str) -> String {
    format!("ringseed_{name}")
}
