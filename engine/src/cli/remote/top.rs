//! `top`: the busiest torrents of a daemon, live. `q` ends it; arrows move; `p` and `r` pause and resume.

use super::args::Connect;
use super::client::Daemon;
use super::field;
use super::show::{LINE_FIELDS, header, line};
use crate::cli::failure::Failure;
use crate::cli::quantity::{rate, size};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{List, ListItem, ListState, Paragraph};
use ratatui::{DefaultTerminal, Frame};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between two looks at the daemon.
const INTERVAL: Duration = Duration::from_secs(1);

/// What is on the screen.
struct View {
    torrents: Vec<Value>,
    stats: Value,
    selected: ListState,
    /// What the daemon refused last.
    complaint: Option<String>,
}

/// Shows the daemon until the user has seen enough. Without a terminal it prints one picture.
pub fn run(connect: &Connect) -> Result<(), Failure> {
    let daemon = Daemon::new(connect)?;
    let mut view =
        View { torrents: Vec::new(), stats: json!({}), selected: ListState::default(), complaint: None };
    view.look(&daemon)?;
    if connect.json {
        crate::cli::screen::say(&json!({"stats": view.stats, "torrents": view.torrents}).to_string());
        return Ok(());
    }
    if !std::io::stdout().is_terminal() {
        crate::cli::screen::say(&view.headline());
        crate::cli::screen::say(&header());
        view.torrents.iter().for_each(|torrent| crate::cli::screen::say(&line(torrent)));
        return Ok(());
    }
    let terminal =
        ratatui::try_init().map_err(|error| Failure::failed(format!("cannot use the terminal: {error}")))?;
    let result = watch(terminal, &daemon, &mut view);
    ratatui::restore();
    result
}

fn watch(mut terminal: DefaultTerminal, daemon: &Daemon, view: &mut View) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("the terminal failed: {error}"));
    let mut looked = Instant::now();
    loop {
        terminal.draw(|frame| view.draw(frame)).map_err(failed)?;
        let rest = INTERVAL.saturating_sub(looked.elapsed());
        if event::poll(rest).map_err(failed)? {
            let Event::Key(key) = event::read().map_err(failed)? else { continue };
            if key.kind != KeyEventKind::Press {
                continue;
            }
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                KeyCode::Down | KeyCode::Char('j') => view.selected.select_next(),
                KeyCode::Up | KeyCode::Char('k') => view.selected.select_previous(),
                KeyCode::Char('p') => view.act(daemon, "torrent-stop"),
                KeyCode::Char('r') => view.act(daemon, "torrent-start"),
                _ => {}
            }
        }
        if looked.elapsed() >= INTERVAL {
            view.look(daemon)?;
            looked = Instant::now();
        }
    }
}

impl View {
    /// Asks the daemon, and puts the busiest torrents first.
    fn look(&mut self, daemon: &Daemon) -> Result<(), Failure> {
        self.stats = daemon.call("session-stats", json!({}))?;
        self.torrents = field(&daemon.call("torrent-get", json!({"fields": LINE_FIELDS}))?, "torrents");
        let busy = |torrent: &Value| {
            let moves = field::<u64>(torrent, "rateUpload") + field::<u64>(torrent, "rateDownload");
            (
                std::cmp::Reverse(moves),
                std::cmp::Reverse(field::<u32>(torrent, "peersConnected")),
                field::<u32>(torrent, "id"),
            )
        };
        self.torrents.sort_by_cached_key(busy);
        Ok(())
    }

    fn act(&mut self, daemon: &Daemon, method: &str) {
        let Some(torrent) = self.selected.selected().and_then(|place| self.torrents.get(place)) else {
            return;
        };
        let ids = json!({"ids": [torrent["hashString"]]});
        self.complaint = match daemon.call(method, ids).and_then(|_| self.look(daemon)) {
            Ok(()) => None,
            Err(Failure::Failed(why) | Failure::Usage(why)) => Some(why),
            Err(Failure::Reported) => None,
        };
    }

    fn headline(&self) -> String {
        let number = |name: &str| field::<u64>(&self.stats, name);
        let moved = |name: &str| field::<u64>(&self.stats["current-stats"], name);
        format!(
            "{} torrents, {} active | down {} up {} | received {} sent {}",
            number("torrentCount"),
            number("activeTorrentCount"),
            rate(number("downloadSpeed")),
            rate(number("uploadSpeed")),
            size(moved("downloadedBytes")),
            size(moved("uploadedBytes")),
        )
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let rows = [Constraint::Length(1), Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)];
        let [head, titles, body, foot] = Layout::vertical(rows).areas(frame.area());
        frame.render_widget(Paragraph::new(self.headline()), head);
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        frame.render_widget(Paragraph::new(header()).style(reversed), titles);
        // Only what fits is made into lines: a daemon may have ten thousand.
        let items = self.torrents.iter().take(2000).map(|torrent| ListItem::new(Line::raw(line(torrent))));
        let list =
            List::new(items).highlight_style(Style::new().add_modifier(Modifier::BOLD)).highlight_symbol(">");
        frame.render_stateful_widget(list, body, &mut self.selected);
        let keys = self.complaint.as_deref().unwrap_or("q quit  ↑↓ choose  p pause  r resume");
        frame.render_widget(Paragraph::new(keys), foot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    #[test]
    fn a_picture_has_the_torrents_and_the_rates() {
        let torrent = json!({"id": 7, "name": "a film", "status": 6, "percentDone": 1.0, "totalSize": 2048,
            "rateUpload": 1_048_576, "uploadRatio": 1.5, "peersConnected": 3});
        let stats = json!({"torrentCount": 1, "activeTorrentCount": 1, "uploadSpeed": 1_048_576});
        let mut view =
            View { torrents: vec![torrent], stats, selected: ListState::default(), complaint: None };
        let mut terminal = Terminal::new(TestBackend::new(100, 5)).expect("a terminal");
        terminal.draw(|frame| view.draw(frame)).expect("a picture");
        let text: String = terminal.backend().buffer().content().iter().map(|cell| cell.symbol()).collect();
        for part in ["1 torrents, 1 active", "seeding", "100.0%", "1.00 MiB/s", "1.50", "a film", "q quit"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
