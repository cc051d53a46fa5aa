//! The table without a window: what is shown, in which order, what is selected, and which rows change.

use ringseed_gui::rpc::{Listed, ListedTracker};
use ringseed_gui::torrents::{
    Choice, Click, Column, Filter, Row, State, StateFilter, Step, Table, TableChange,
};
use std::collections::BTreeMap;

fn torrent(id: u32, name: &str) -> Listed {
    Listed {
        id,
        name: name.to_owned(),
        status: 4,
        total_size: 1000,
        size_when_done: 1000,
        left_until_done: 400,
        percent_done: 0.6,
        upload_ratio: -1.0,
        tracker_stats: Some(vec![ListedTracker {
            host: "http://tracker.example.org:80".to_owned(),
            seeder_count: 3,
            leecher_count: 1,
        }]),
        ..Listed::default()
    }
}

fn table() -> Table {
    let mut table = Table::default();
    let seeding =
        Listed { status: 6, left_until_done: 0, percent_done: 1.0, rate_upload: 9, ..torrent(2, "Banana") };
    let paused = Listed { status: 0, labels: vec!["linux".to_owned()], ..torrent(3, "cherry") };
    table.replace(vec![
        paused,
        torrent(1, "äpfel"),
        seeding,
        Listed { tracker_stats: None, ..torrent(4, "apple pie") },
    ]);
    table
}

fn names(table: &Table) -> Vec<String> {
    (0..table.len()).map(|row| table.row(row).unwrap().cells[Column::Name.index()].clone()).collect()
}

#[test]
fn rows_go_by_name_without_case_first() {
    assert_eq!(names(&table()), ["apple pie", "Banana", "cherry", "äpfel"]);
}

#[test]
fn a_heading_turns_the_order_round_and_numbers_start_with_the_largest() {
    let mut table = table();
    table.click_heading(Column::Name);
    assert_eq!(names(&table), ["äpfel", "cherry", "Banana", "apple pie"]);
    table.click_heading(Column::Up);
    assert_eq!(names(&table)[0], "Banana");
    // Ties go by name, whichever way the column goes.
    assert_eq!(names(&table)[1..], ["apple pie", "cherry", "äpfel"]);
}

#[test]
fn news_change_rows_in_place() {
    let mut table = table();
    let news = Listed { rate_download: 500, tracker_stats: None, ..torrent(1, "äpfel") };
    let change = table.update(vec![news.clone()], &[]);
    assert_eq!(change, TableChange { changed: vec![3], old_len: 4, new_len: 4 });
    let row = table.row(3).unwrap();
    assert_eq!(row.cells[Column::Down.index()], "500 B/s");
    assert_eq!(row.cells[Column::Seeds.index()], "3", "trackers stay when news leave them out");
    assert!(table.update(vec![news], &[]).is_empty(), "the same news change nothing");
}

#[test]
fn removed_torrents_leave_and_the_rest_moves_up() {
    let mut table = table();
    let change = table.update(Vec::new(), &[2, 77]);
    assert_eq!(change, TableChange { changed: vec![1, 2], old_len: 4, new_len: 3 });
    assert_eq!(names(&table), ["apple pie", "cherry", "äpfel"]);
}

#[test]
fn filters_combine_with_the_search() {
    let mut table = table();
    table.choose(Choice::State(StateFilter::Downloading));
    assert_eq!(names(&table), ["apple pie", "äpfel"]);
    table.choose(Choice::Tracker(Some("tracker.example.org".to_owned())));
    assert_eq!(names(&table), ["äpfel"]);
    table.set_filter(Filter { search: "PIE app".to_owned(), ..Filter::default() });
    assert_eq!(names(&table), ["apple pie"]);
    table.set_filter(Filter { label: Some(String::new()), ..Filter::default() });
    assert_eq!(table.len(), 3, "those without any label");
}

#[test]
fn the_side_bar_counts_all_torrents_whatever_is_shown() {
    let mut table = table();
    table.choose(Choice::State(StateFilter::Seeding));
    let count = |title: &str| {
        let items = table.sidebar();
        items.iter().find(|item| item.title == title).map(|item| (item.count, item.chosen))
    };
    assert_eq!(count("Downloading"), Some((2, false)));
    assert_eq!(count("Seeding"), Some((1, true)));
    assert_eq!(count("Paused"), Some((1, false)));
    assert_eq!(count("Active"), Some((1, false)));
    assert_eq!(count("linux"), Some((1, false)));
    assert_eq!(count("tracker.example.org"), Some((3, false)));
    assert_eq!(count("No tracker"), Some((1, false)));
}

#[test]
fn clicks_select_as_in_a_list_of_files() {
    let mut table = table();
    let (toggle, range) = (Click { toggle: true, range: false }, Click { toggle: false, range: true });
    assert_eq!(table.click(1, Click::default()).changed, [1]);
    table.click(3, range);
    assert_eq!(table.selected(), [2, 3, 1]);
    table.click(2, toggle);
    assert_eq!(table.selected(), [2, 1]);
    assert_eq!(
        table.point(1),
        TableChange { changed: vec![], old_len: 4, new_len: 4 },
        "a right click keeps it"
    );
    table.point(0);
    assert_eq!(table.selected(), [4], "a right click elsewhere selects there");
    table.step(Step::Last, true);
    assert_eq!(table.selected().len(), 4);
    table.step(Step::By(-2), false);
    assert_eq!((table.selected(), table.current_row()), (vec![2], Some(1)));
    table.select_all();
    assert_eq!(table.selected().len(), 4);
    assert_eq!(table.select_none().changed, [0, 1, 2, 3]);
}

#[test]
fn a_selection_follows_its_torrents_and_forgets_what_is_hidden() {
    let mut table = table();
    table.click(1, Click::default());
    table.click_heading(Column::Name);
    assert_eq!((table.selected(), table.current_row()), (vec![2], Some(2)));
    table.choose(Choice::State(StateFilter::Paused));
    assert!(table.selected().is_empty() && table.current().is_none());
}

#[test]
fn keys_on_an_empty_table_do_nothing() {
    let mut table = Table::default();
    assert!(table.step(Step::By(1), false).is_empty() && table.step(Step::Last, true).is_empty());
    assert!(table.click(5, Click::default()).is_empty() && table.select_all().is_empty());
    assert!(table.row(0).is_none());
}

#[test]
fn states_are_named_for_people() {
    let mut table = Table::default();
    let state = |table: &mut Table, listed: Listed| {
        table.replace(vec![listed]);
        table.row(0).unwrap().state
    };
    assert_eq!(state(&mut table, torrent(1, "a")), State::Downloading);
    let done = Listed { status: 0, left_until_done: 0, ..torrent(1, "a") };
    assert_eq!(state(&mut table, done), State::Done);
    let magnet = Listed { metadata_percent_complete: Some(0.0), left_until_done: 0, ..torrent(1, "a") };
    assert_eq!(state(&mut table, magnet), State::Metadata);
    let broken = Listed { status: 0, error: 3, ..torrent(1, "a") };
    assert_eq!(state(&mut table, broken), State::Error);
}

/// All rows, as a window that draws nothing unasked has them.
fn follow(rows: &mut Vec<Row>, table: &Table, change: &TableChange) {
    assert_eq!((change.old_len, change.new_len), (rows.len(), table.len()));
    rows.truncate(change.new_len);
    for index in (rows.len()..change.new_len).chain(change.changed.iter().copied()) {
        let row = table.row(index).unwrap();
        if index < rows.len() { rows[index] = row } else { rows.push(row) }
    }
}

#[test]
fn news_lead_to_what_the_whole_list_would_show() {
    let mut state = 7u64;
    let mut draw = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut table = Table::default();
    let mut known: BTreeMap<u32, Listed> = BTreeMap::new();
    let mut rows = Vec::new();
    for round in 0..600 {
        let news = |draw: &mut dyn FnMut(u64) -> u64| {
            let id = draw(40) as u32 + 1;
            let names = ["alpha", "Beta", "gamma", "beta two"];
            let hosts = ["http://one.example:80", "udp://two.example:1337"];
            let left = draw(2) * 400;
            Listed {
                id,
                name: format!("{} {}", names[draw(4) as usize], id % 3),
                status: [0, 2, 4, 6][draw(4) as usize],
                error: draw(4) as u8,
                left_until_done: left,
                size_when_done: draw(3) * 1000,
                rate_upload: draw(3),
                labels: ["films", "linux"][..draw(3) as usize]
                    .iter()
                    .map(|&label| label.to_owned())
                    .collect(),
                // Left out at times, and then as it was.
                tracker_stats: (draw(2) == 0).then(|| {
                    let host = hosts[draw(2) as usize].to_owned();
                    vec![ListedTracker { host, seeder_count: draw(3) as i64, leecher_count: 1 }]
                }),
                ..Listed::default()
            }
        };
        let change = match draw(8) {
            0 => table.click_heading(Column::ALL[draw(Column::ALL.len() as u64) as usize]),
            1 => {
                let search = ["", "", "beta", "a 1"][draw(4) as usize].to_owned();
                table.set_filter(Filter { search, ..table.filter().clone() })
            }
            2 => table.choose(Choice::State(StateFilter::ALL[draw(9) as usize])),
            3 => table.choose(Choice::Label(
                [None, Some(String::new()), Some("films".into())][draw(3) as usize].clone(),
            )),
            4 => {
                let whole: Vec<Listed> = (0..draw(40)).map(|_| news(&mut draw)).collect();
                known = whole.into_iter().map(|listed| (listed.id, listed)).collect();
                table.replace(known.values().cloned().collect())
            }
            _ => {
                let mut some = BTreeMap::new();
                for _ in 0..draw(6) {
                    let listed = news(&mut draw);
                    some.insert(listed.id, listed);
                }
                let removed: Vec<u32> =
                    (0..draw(3)).map(|_| draw(40) as u32 + 1).filter(|id| !some.contains_key(id)).collect();
                for listed in some.values() {
                    let before = known.get(&listed.id).and_then(|before| before.tracker_stats.clone());
                    let tracker_stats = listed.tracker_stats.clone().or(before);
                    known.insert(listed.id, Listed { tracker_stats, ..listed.clone() });
                }
                removed.iter().for_each(|id| drop(known.remove(id)));
                table.update(some.into_values().collect(), &removed)
            }
        };
        follow(&mut rows, &table, &change);
        let mut whole = Table::default();
        whole.set_filter(table.filter().clone());
        whole.set_order(table.order());
        whole.replace(known.values().cloned().collect());
        let all: Vec<Row> = (0..whole.len()).map(|row| whole.row(row).unwrap()).collect();
        assert_eq!(rows, all, "round {round}");
        assert_eq!(table.sidebar(), whole.sidebar(), "round {round}");
    }
}
