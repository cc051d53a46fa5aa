//! Charts of a report as SVG.

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use serde::{Deserialize, Serialize};

/// Most points of a series in a report: more are not seen, and make files large.
pub(crate) const POINTS_MAX: usize = 240;

const WIDTH: u32 = 860;
const HEIGHT: u32 = 320;
const INK: RGBColor = RGBColor(0x22, 0x2b, 0x33);
const FAINT: RGBColor = RGBColor(0xd5, 0xda, 0xdf);
const MARK: RGBColor = RGBColor(0xb0, 0x3a, 0x2e);
const COLORS: [RGBColor; 8] = [
    RGBColor(0x1f, 0x7a, 0x5c),
    RGBColor(0x2f, 0x5d, 0xa8),
    RGBColor(0xc2, 0x7a, 0x1a),
    RGBColor(0x8a, 0x4f, 0x9e),
    RGBColor(0x4d, 0x9f, 0xb8),
    RGBColor(0x7c, 0x86, 0x2e),
    RGBColor(0xb5, 0x56, 0x6f),
    RGBColor(0x6b, 0x75, 0x7e),
];

/// One chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// The horizontal quantity.
    pub x: String,
    /// The vertical quantity.
    pub y: String,
    /// What is drawn.
    pub plot: Plot,
    /// Moments that are marked.
    pub marks: Vec<Mark>,
}

/// What a chart draws.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plot {
    /// Lines over a horizontal quantity.
    Lines(Vec<Series>),
    /// One bar for each name.
    Bars(Vec<(String, f64)>),
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its points by rising horizontal value.
    pub points: Vec<(f64, f64)>,
}

/// A moment that is marked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// When.
    pub at: f64,
    /// What happened.
    pub label: String,
    /// Whether something ends here that began at another mark.
    pub ends: bool,
}

/// A chart could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw '{title}': {reason}")]
pub struct ChartError {
    title: String,
    reason: String,
}

impl Series {
    /// A line of at most `POINTS_MAX` of the points; the first and the last are kept.
    pub fn new(name: &str, points: &[(f64, f64)]) -> Series {
        let step = points.len().div_ceil(POINTS_MAX - 1).max(1);
        let mut kept: Vec<(f64, f64)> = points.iter().copied().step_by(step).collect();
        if let Some(last) = points.last()
            && kept.last() != Some(last)
        {
            kept.push(*last);
        }
        Series { name: name.to_owned(), points: kept }
    }
}

impl Chart {
    /// A chart of lines.
    pub fn lines(title: &str, x: &str, y: &str, series: Vec<Series>) -> Chart {
        let (title, x, y) = (title.to_owned(), x.to_owned(), y.to_owned());
        Chart { title, x, y, plot: Plot::Lines(series), marks: Vec::new() }
    }

    /// A chart of bars.
    pub fn bars(title: &str, x: &str, y: &str, bars: Vec<(String, f64)>) -> Chart {
        let (title, x, y) = (title.to_owned(), x.to_owned(), y.to_owned());
        Chart { title, x, y, plot: Plot::Bars(bars), marks: Vec::new() }
    }

    /// The chart as an SVG element.
    ///
    /// # Errors
    /// [`ChartError`] with the reason of the drawing library.
    pub fn svg(&self) -> Result<String, ChartError> {
        let mut text = String::new();
        let drawn = match &self.plot {
            Plot::Lines(series) => self.draw_lines(&mut text, series),
            Plot::Bars(bars) => self.draw_bars(&mut text, bars),
        };
        drawn.map_err(|error| ChartError { title: self.title.clone(), reason: error.to_string() })?;
        Ok(text)
    }

    fn draw_lines(&self, text: &mut String, series: &[Series]) -> Result<(), Box<dyn std::error::Error>> {
        let points = || series.iter().flat_map(|line| &line.points);
        let marks = self.marks.iter().map(|mark| mark.at);
        let right = points().map(|point| point.0).chain(marks).fold(0.0, f64::max).max(1e-6);
        let left = points().map(|point| point.0).fold(right, f64::min).min(0.0);
        let top = points().map(|point| point.1).fold(0.0, f64::max).max(1e-6) * 1.06;
        let area = SVGBackend::with_string(text, (WIDTH, HEIGHT)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .x_label_area_size(38)
            .y_label_area_size(64)
            .build_cartesian_2d(left..right, 0.0..top)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(FAINT)
            .axis_style(INK)
            .x_desc(self.x.as_str())
            .y_desc(self.y.as_str())
            .label_style(("sans-serif", 13).into_font().color(&INK))
            .draw()?;
        for (mark, place) in self.marks.iter().zip((0..4).cycle()) {
            let line = [(mark.at, 0.0), (mark.at, top)];
            chart.draw_series(LineSeries::new(line, MARK.mix(if mark.ends { 0.25 } else { 0.6 })))?;
            // What begins is named; where it ends is seen.
            if mark.ends {
                continue;
            }
            let side = if mark.at > left + (right - left) * 0.75 { HPos::Right } else { HPos::Left };
            let style = ("sans-serif", 12).into_font().color(&MARK).pos(Pos::new(side, VPos::Top));
            let at = (mark.at, top * (0.98 - 0.06 * f64::from(place)));
            chart.draw_series([Text::new(mark.label.clone(), at, style)])?;
        }
        for (line, color) in series.iter().zip(COLORS.iter().cycle()) {
            let drawn =
                chart.draw_series(LineSeries::new(line.points.iter().copied(), color.stroke_width(2)))?;
            if series.len() <= COLORS.len() {
                let color = *color;
                drawn
                    .label(line.name.as_str())
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
            }
        }
        if (2..=COLORS.len()).contains(&series.len()) {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::LowerRight)
                .background_style(WHITE.mix(0.85))
                .border_style(FAINT)
                .label_font(("sans-serif", 13).into_font().color(&INK))
                .draw()?;
        }
        area.present()?;
        Ok(())
    }

    fn draw_bars(&self, text: &mut String, bars: &[(String, f64)]) -> Result<(), Box<dyn std::error::Error>> {
        let top = bars.iter().map(|bar| bar.1).fold(0.0, f64::max).max(1e-6) * 1.12;
        let count = bars.len().max(1);
        let area = SVGBackend::with_string(text, (WIDTH, HEIGHT)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .x_label_area_size(38)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..count as f64, 0.0..top)?;
        let name = |x: &f64| {
            let place = x.floor();
            let middle = (x - place - 0.5).abs() < 1e-6;
            bars.get(place as usize).filter(|_| middle).map(|bar| bar.0.clone()).unwrap_or_default()
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .bold_line_style(FAINT)
            .axis_style(INK)
            .x_labels(0)
            .x_label_formatter(&name)
            .x_desc(self.x.as_str())
            .y_desc(self.y.as_str())
            .label_style(("sans-serif", 13).into_font().color(&INK))
            .draw()?;
        for (place, (_, value)) in bars.iter().enumerate() {
            let (left, right) = (place as f64 + 0.12, place as f64 + 0.88);
            let color = COLORS[0].mix(if place == 0 { 1.0 } else { 0.7 });
            chart.draw_series([Rectangle::new([(left, 0.0), (right, *value)], color.filled())])?;
        }
        // Names and values stand above the bars while there is room for them.
        if count <= 12 {
            for (place, (name, value)) in bars.iter().enumerate() {
                let label = format!("{name}: {}", super::readable(*value));
                let at = (place as f64 + 0.12, value + top * 0.05);
                chart.draw_series([Text::new(label, at, ("sans-serif", 13).into_font().color(&INK))])?;
            }
        }
        area.present()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_marks_and_bars_are_in_the_svg() {
        let report = super::super::sample();
        let lines = report.charts[0].svg().unwrap();
        assert!(
            lines.starts_with("<svg") && lines.contains("<polyline") && lines.contains("kill"),
            "{lines}"
        );
        let bars = report.charts[1].svg().unwrap();
        assert!(bars.contains("ringseed: 900") && bars.contains("other: 300"), "{bars}");
    }

    #[test]
    fn nothing_to_draw_is_an_empty_chart() {
        for chart in [Chart::lines("", "x", "y", Vec::new()), Chart::bars("", "x", "y", Vec::new())] {
            assert!(chart.svg().unwrap().starts_with("<svg"));
        }
    }

    #[test]
    fn long_series_are_thinned_and_keep_their_ends() {
        let points: Vec<(f64, f64)> = (0..10_000).map(|n| (f64::from(n), 1.0)).collect();
        let series = Series::new("a", &points);
        assert!(series.points.len() <= POINTS_MAX, "{}", series.points.len());
        assert_eq!((series.points.first(), series.points.last()), (points.first(), points.last()));
        assert_eq!(Series::new("b", &points[..3]).points, points[..3]);
    }
}
