//! One quantity of a benchmark as an SVG of horizontal bars: a group per condition, a bar per contestant.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Deserialize;

use crate::results::Measurement;

const WIDTH: u32 = 900;
const BAR: i32 = 18;
const GROUP_GAP: i32 = 30;
const HEAD: i32 = 62;
const NAMES: i32 = 130;
/// Room for the number behind the longest bar.
const NUMBERS: i32 = 90;
const INK: RGBColor = RGBColor(0x22, 0x2b, 0x33);
const FAINT: RGBColor = RGBColor(0x5d, 0x68, 0x72);
const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);
const OURS: RGBColor = RGBColor(0x1f, 0x7a, 0x5c);
const OTHERS: RGBColor = RGBColor(0xb4, 0xbe, 0xc6);

/// The part of a results file that a chart shows.
#[derive(Debug, Deserialize)]
pub struct Charted {
    /// The program's name.
    pub benchmark: String,
    machine: MachineLine,
    /// Its measurements.
    pub measurements: Vec<Measurement>,
}

#[derive(Debug, Deserialize)]
struct MachineLine {
    date: String,
    kernel: String,
    cpu: String,
    cores: usize,
}

/// Why there is no chart.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// The file is no result of these programs.
    #[error("not a results file: {0}")]
    Results(#[from] serde_json::Error),
    /// Nothing to draw.
    #[error("{benchmark} measured no '{what}'; it measured {known}")]
    Nothing {
        /// The program.
        benchmark: String,
        /// The quantity that was asked for.
        what: String,
        /// Those there are.
        known: String,
    },
    /// The drawing failed.
    #[error("cannot draw: {0}")]
    Drawing(String),
}

impl Charted {
    /// Reads a results file.
    ///
    /// # Errors
    /// [`ChartError::Results`].
    pub fn parse(json: &str) -> Result<Charted, ChartError> {
        Ok(serde_json::from_str(json)?)
    }

    /// The SVG of the quantity `what`, in the order of the file; contestants without a number are left out.
    ///
    /// # Errors
    /// [`ChartError::Nothing`] and [`ChartError::Drawing`].
    pub fn svg(&self, what: &str) -> Result<String, ChartError> {
        let groups = self.groups(what);
        let longest = groups.iter().flat_map(|(_, bars)| bars).map(|bar| bar.1).fold(0.0, f64::max);
        if longest <= 0.0 {
            let mut known: Vec<&str> = self.measurements.iter().map(|m| m.what.as_str()).collect();
            known.sort_unstable();
            known.dedup();
            let (benchmark, what, known) = (self.benchmark.clone(), what.to_owned(), known.join(", "));
            return Err(ChartError::Nothing { benchmark, what, known });
        }
        let bars: i32 = groups.iter().map(|(_, bars)| bars.len() as i32).sum();
        let height = HEAD + bars * BAR + groups.len() as i32 * GROUP_GAP + 12;
        let mut text = String::new();
        {
            let area = SVGBackend::with_string(&mut text, (WIDTH, height as u32)).into_drawing_area();
            self.draw(&area, what, &groups, longest).map_err(|e| ChartError::Drawing(e.to_string()))?;
            area.present().map_err(|e| ChartError::Drawing(e.to_string()))?;
        }
        Ok(text)
    }

    fn groups(&self, what: &str) -> Vec<(&str, Vec<(&str, f64)>)> {
        let mut groups: Vec<(&str, Vec<(&str, f64)>)> = Vec::new();
        for m in self.measurements.iter().filter(|m| m.what == what) {
            let Some(median) = m.median else { continue };
            match groups.iter_mut().find(|(case, _)| *case == m.case) {
                Some((_, bars)) => bars.push((&m.who, median)),
                None => groups.push((&m.case, vec![(&m.who, median)])),
            }
        }
        groups
    }

    fn draw(
        &self,
        area: &DrawingArea<SVGBackend, Shift>,
        what: &str,
        groups: &[(&str, Vec<(&str, f64)>)],
        longest: f64,
    ) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        let font = |size: i32, colour: RGBColor| ("sans-serif", size).into_font().color(&colour);
        let right = |style: TextStyle<'static>| style.pos(Pos::new(HPos::Right, VPos::Center));
        let left = |style: TextStyle<'static>| style.pos(Pos::new(HPos::Left, VPos::Center));
        let put =
            |text: String, at: (i32, i32), style: TextStyle<'static>| area.draw(&Text::new(text, at, style));
        area.fill(&PAPER)?;
        put(format!("{}: {what}", self.benchmark), (16, 22), left(font(18, INK)))?;
        let m = &self.machine;
        let machine = format!("{}, {} cores, Linux {}, {}; medians", m.cpu, m.cores, m.kernel, &m.date);
        put(machine, (16, 46), left(font(12, FAINT)))?;
        let room = f64::from(WIDTH as i32 - NAMES - NUMBERS);
        let mut y = HEAD;
        for (case, bars) in groups {
            put((*case).to_owned(), (16, y + GROUP_GAP / 2), left(font(13, INK)))?;
            y += GROUP_GAP;
            for (who, value) in bars {
                let colour = if *who == "ringseed" { OURS } else { OTHERS };
                let end = NAMES + (value / longest * room).round() as i32;
                let middle = y + BAR / 2 - 1;
                area.draw(&Rectangle::new([(NAMES, y), (end, y + BAR - 3)], colour.filled()))?;
                put((*who).to_owned(), (NAMES - 8, middle), right(font(12, INK)))?;
                put(number(*value), (end + 6, middle), left(font(12, INK)))?;
                y += BAR;
            }
        }
        Ok(())
    }
}

fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Results;

    #[test]
    fn every_contestant_has_a_bar_as_long_as_its_number() {
        let mut results = Results::new("some");
        results.measurements.push(Measurement::new("floor", "8 peers", "CPU s/GB", vec![0.2]));
        results.measurements.push(Measurement::new("ringseed", "8 peers", "CPU s/GB", vec![0.4]));
        results.measurements.push(Measurement::new("absent", "8 peers", "CPU s/GB", vec![]));
        let charted = Charted::parse(&serde_json::to_string(&results).unwrap()).unwrap();
        let svg = charted.svg("CPU s/GB").unwrap();
        let width = |colour: &str| {
            let at = svg.find(&format!("fill=\"{colour}\"")).unwrap();
            let line = svg[..at].rfind('<').unwrap();
            let tail = &svg[line..];
            let from = tail.find("width=\"").unwrap() + 7;
            tail[from..].split('"').next().unwrap().parse::<i32>().unwrap()
        };
        assert!((width("#1F7A5C") - 2 * width("#B4BEC6")).abs() <= 2, "{svg}");
        assert!(svg.contains("8 peers") && svg.contains("0.400") && !svg.contains("absent"));
    }

    #[test]
    fn a_quantity_nobody_measured_names_those_there_are() {
        let mut results = Results::new("some");
        results.measurements.push(Measurement::new("floor", "8 peers", "MB/s", vec![2.0]));
        let charted = Charted::parse(&serde_json::to_string(&results).unwrap()).unwrap();
        let error = charted.svg("CPU").unwrap_err().to_string();
        assert_eq!(error, "some measured no 'CPU'; it measured MB/s");
    }
}
